// Property: schemas/asyncapi.yaml names the topics, settings, headers and values that a hub makes, and no others.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <set>

#include "cloudsync/hub/cloud_event.h"
#include "cloudsync/hub/progress.h"
#include "cloudsync/hub/topics.h"
#include "eventlog/chain.h"
#include "tests/hub/broker.h"
#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"
#include "tests/hub/made_rows.h"
#include "tests/hub/topic_reader.h"

namespace landfall {
namespace {

using nlohmann::json;
using Names = std::set<std::string>;

YAML::Node file() { return YAML::LoadFile(LANDFALL_ASYNCAPI); }

// Behind "landfall.", by address.
std::map<std::string, YAML::Node> kafka_channels() {
  std::map<std::string, YAML::Node> channels;
  for (const auto& channel : file()["channels"]) {
    const auto address = channel.second["address"].as<std::string>();
    if (address.starts_with("landfall.")) channels[address.substr(9)] = channel.second;
  }
  return channels;
}

Names keys(const YAML::Node& map) {
  Names names;
  for (const auto& entry : map) names.insert(entry.first.as<std::string>());
  return names;
}

Names keys(const json& object) {
  Names names;
  for (const auto& [key, value] : object.items()) names.insert(key);
  return names;
}

TEST(AsyncApi, NamesTheTopicsWithTheirSettings) {
  Names wanted = {progress_topic("t").substr(2)};
  for (std::size_t i = 0; i < kafka_topic_count; ++i) wanted.emplace(kafka_topic_suffix(static_cast<KafkaTopic>(i)));
  for (std::size_t i = 0; i < state_topic_count; ++i)
    wanted.insert(state_topic("t", static_cast<StateTopic>(i)).substr(2));
  Names named;
  const auto channels = kafka_channels();
  for (const auto& [suffix, channel] : channels) named.insert(suffix);
  EXPECT_EQ(named, wanted);

  Scratch scratch;
  KafkaWriterOptions options;
  options.bootstrap = Broker::shared().bootstrap();
  options.topic_prefix = "asyncapi";
  options.shards = 1;
  HubRig rig(scratch.path(), options);
  rig.start();
  ASSERT_TRUE(rig.until([&] { return rig.started().has_value(); }));
  for (const auto& [suffix, channel] : channels) {
    const auto bindings = channel["bindings"];
    if (!bindings) continue;
    const auto settings = bindings["kafka"]["topicConfiguration"];
    const auto there = [&, at = "asyncapi." + suffix](const char* name) {
      return topic_setting(Broker::shared().bootstrap(), at, name);
    };
    EXPECT_EQ(there("cleanup.policy"), settings["cleanup.policy"][0].as<std::string>()) << suffix;
    if (settings["retention.ms"]) {
      EXPECT_EQ(there("retention.ms"), settings["retention.ms"].as<std::string>()) << suffix;
    }
  }
}

// What events there are, as headers and values: those of the record tests, and one of each object.
struct Written {
  Names headers, types;
  std::vector<json> changes;
};

Written all_written() {
  Written written;
  const auto add = [&](Stream stream, const std::vector<std::string>& rows) {
    const RunStream of{made_run(3), stream};
    CloudEventHeaders carried(of, "landfall");
    const Digest chain = chain_start(of);
    std::uint64_t seq = 0;
    for (const auto& row : rows) {
      const Event event = decode_row(row).value();
      for (const auto& header : carried.of(event, row, ++seq, true, &chain)) {
        written.headers.emplace(header.name);
        if (header.name == "ce_type") written.types.emplace(header.value);
      }
      if (has_ops(event.kind)) written.changes.push_back(json::parse(carried.value(event)));
    }
  };
  add(Stream::telemetry, plain_rows());
  add(Stream::blob, strange_rows());
  add(Stream::desired, made_changes());
  add(Stream::control, {row_of(made(Kind::run_start, "", "")), row_of(made(Kind::audit, "", "{}"))});
  const std::string payload(decode_row(made_changes()[0]).value().payload);
  const auto change = [&](std::string_view object) { return row_of(made(Kind::change, object, payload)); };
  add(Stream::reported, {change("twin/a")});
  add(Stream::reported, rows_in(with_voids(chunk_of({made_run(3), Stream::reported}, made_reports(20)), 1, 19)));
  add(Stream::alarm, {change("alarm/a/b"), change("command/1")});
  add(Stream::document, {change("device/a"), change("doc/a")});
  return written;
}

TEST(AsyncApi, NamesTheHeadersAndTypes) {
  const auto written = all_written();
  const auto headers = file()["components"]["schemas"]["eventHeaders"];
  EXPECT_EQ(keys(headers["properties"]), written.headers);
  Names types;
  for (const auto& type : headers["properties"]["ce_type"]["examples"]) types.insert(type.as<std::string>());
  types.insert("landfall.kind.77");
  EXPECT_EQ(types, written.types);
}

TEST(AsyncApi, NamesWhatAChangeAndAProgressRecordHave) {
  const auto schemas = file()["components"]["schemas"];
  const auto change = schemas["change"]["properties"];
  Names whole, parts;
  for (const auto& written : all_written().changes) {
    whole.merge(keys(written));
    for (const auto& part : written.at("changes")) parts.merge(keys(part));
  }
  EXPECT_EQ(keys(change), whole);
  EXPECT_EQ(keys(change["changes"]["items"]["properties"]), parts);
  Progress within;
  within.voids = true;
  EXPECT_EQ(keys(schemas["progress"]["properties"]), keys(json::parse(encode_progress(within))));
  EXPECT_EQ(keys(file()["components"]["messages"]["owner"]["payload"]["properties"]),
            keys(json::parse(encode_owner("i", 0))));
}

}  // namespace
}  // namespace landfall
