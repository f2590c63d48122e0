// Property: whatever a node may write, the hub's topics alone give back its row, and so the hash chain that the progress
// record names.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cloudsync/hub/cloud_event.h"
#include "edgeruntime/event_json.h"
#include "eventlog/chain.h"
#include "schemas/limits.h"
#include "schemas/op.h"
#include "tests/hub/broker.h"
#include "tests/hub/hub_rig.h"
#include "tests/hub/made_events.h"
#include "tests/hub/made_rows.h"
#include "tests/hub/topic_reader.h"

namespace landfall {
namespace {

using nlohmann::json;

KafkaWriterOptions options_for(const std::string& prefix) {
  KafkaWriterOptions options;
  options.bootstrap = Broker::shared().bootstrap();
  options.topic_prefix = prefix;
  options.shards = 2;
  return options;
}

std::string name_of(const RunStream& of) { return to_string(of.run) + "/" + std::string(to_string(of.stream)); }

RecordHeaders headers_of(const TopicRecord& record) {
  RecordHeaders headers;
  for (const auto& [name, value] : record.headers) headers.emplace_back(name, value);
  return headers;
}

const RunId run = made_run(3);
const RunStream telemetry{run, Stream::telemetry}, control{run, Stream::control}, desired{run, Stream::desired},
    alarms{run, Stream::alarm}, blobs{run, Stream::blob}, reported{run, Stream::reported};

class Record : public testing::Test {
 protected:
  static void store(HubRig& rig, const RunStream& of, const std::vector<std::string>& rows) {
    bool done = false;
    rig.log().ingest(chunk_of(of, rows), [&](const Status& status) {
      ASSERT_TRUE(status.ok()) << status.error().detail;
      done = true;
    });
    ASSERT_TRUE(rig.until([&] { return done; }));
    ASSERT_TRUE(rig.until_committed(of, rows.size()));
  }
};

TEST_F(Record, GivesEveryRowAndTheChainOfTheProgressTopicBack) {
  Scratch scratch;
  HubRig rig(scratch.path(), options_for("rows"));
  rig.start();
  std::map<std::string, std::vector<std::string>> wanted;
  const std::string start = encode_run_start({.parent = {}, .parent_heads = {}, .boot_id = "b", .software = "s"});
  wanted[name_of(control)] = {row_of(made(Kind::run_start, "", start)),
                              row_of(made(Kind::audit, "", R"({"audit":"refused"})"))};
  wanted[name_of(telemetry)] = plain_rows();
  wanted[name_of(alarms)] = plain_rows();
  wanted[name_of(blobs)] = strange_rows();
  wanted[name_of(desired)] = made_changes();
  wanted[name_of(reported)] = rows_in(with_voids(chunk_of(reported, made_reports(60)), 11, 50));
  for (const RunStream& of : {control, telemetry, alarms, blobs, desired, reported})
    store(rig, of, wanted[name_of(of)]);

  std::map<std::string, Digest> chains;
  std::map<std::string, std::size_t> seen;
  ChainHasher hasher;
  const auto& bootstrap = Broker::shared().bootstrap();
  for (const auto& record : read_topics(bootstrap, "rows", {"control", "alarms", "twins", "telemetry", "blobs"})) {
    const auto read = read_record(record.key, record.value, headers_of(record));
    ASSERT_TRUE(read.ok()) << record.topic << " " << record.offset << ": " << read.error().detail;
    EXPECT_LT(record.value.size() + 300'000, 1'000'000u) << "no broker takes it";
    const std::string name = name_of(read->of);
    RowReader rows(read->row);
    const std::string row(rows.next());
    if (wanted.contains(name)) {
      ASSERT_LT(seen[name], wanted[name].size());
      EXPECT_EQ(to_hex(row), to_hex(wanted[name][seen[name]])) << name << "/" << read->seq;
    }
    EXPECT_EQ(read->seq, ++seen[name]);
    hasher.extend(chains.try_emplace(name, chain_start(read->of)).first->second, row);
  }
  for (const auto& [name, rows] : wanted) EXPECT_EQ(seen[name], rows.size()) << name;
  std::map<std::string, std::string> progress;
  for (const auto& record : read_topics(bootstrap, "rows", {"progress"})) {
    if (record.key != "owner") progress[record.key] = json::parse(record.value).at("chain");
  }
  EXPECT_EQ(progress.size(), seen.size());
  for (const auto& [name, chain] : chains) EXPECT_EQ(progress[name], to_hex(chain)) << name;
}

TEST_F(Record, ShowsAChangeAsJsonAndAbridgesWhatNoBrokerTakes) {
  Scratch scratch;
  HubRig rig(scratch.path(), options_for("changes"));
  rig.start();
  store(rig, desired, made_changes());
  const auto records = read_topics(Broker::shared().bootstrap(), "changes", {"twins"});
  ASSERT_EQ(records.size(), 4u);
  const auto& headers = records[0].headers;
  EXPECT_EQ(records[0].key, "pump-1");
  EXPECT_EQ(headers.at("ce_type"), "landfall.twin.desired");
  EXPECT_EQ(headers.at("ce_subject"), "twin/pump-1");
  EXPECT_EQ(headers.at("ce_actor"), "user:amundsen");
  EXPECT_EQ(headers.at("content-type"), "application/json");
  EXPECT_FALSE(headers.contains("ce_device"));
  EXPECT_EQ(json::parse(records[0].value), json::parse(R"({"object":"twin/pump-1","changes":[
      {"path":"/p/name/c","value":{"base64":"ImH/Ig=="},"supersedes":[]},
      {"path":"/p/speed/c","value":{"v":80},"supersedes":[]}]})"));
  EXPECT_EQ(records[1].key, "twin/pump-1");
  EXPECT_EQ(records[1].headers.at("ce_device"), "twin/pump-1");
  EXPECT_EQ(
      json::parse(records[1].value),
      json({{"object", "twin/pump-1"},
            {"changes",
             {{{"path", "/p/name/c"}, {"supersedes", {name_of(desired) + "/1", to_string(made_run(5)) + "/desired/4"}}},
              {{"path", "/p/speed/c"}, {"value", 90}, {"supersedes", {name_of(desired) + "/1"}}}}}}));
  const json long_one = json::parse(records[2].value);
  EXPECT_EQ(long_one.at("abridged"), true);
  EXPECT_FALSE(long_one.at("changes").at(0).contains("supersedes"));
  EXPECT_TRUE(long_one.at("changes").at(0).contains("value"));
  EXPECT_GT(records[2].headers.at("landfall-payload").size(), 40'000u);
  EXPECT_TRUE(records[3].headers.contains("landfall-row"));
  EXPECT_FALSE(records[3].headers.contains("landfall-payload"));
}

TEST_F(Record, ShowsAVoidAsWhatItSuperseded) {
  Scratch scratch;
  HubRig rig(scratch.path(), options_for("voids"));
  rig.start();
  const auto rows = rows_in(with_voids(chunk_of(reported, made_reports(12)), 2, 11));
  store(rig, reported, rows);
  const auto records = read_topics(Broker::shared().bootstrap(), "voids", {"twins"});
  ASSERT_EQ(records.size(), 12u);
  EXPECT_EQ(records[0].headers.at("ce_type"), "landfall.twin.reported");
  EXPECT_EQ(records[11].headers.at("ce_type"), "landfall.twin.reported");
  for (std::size_t i = 1; i < 11; ++i) {
    const auto& headers = records[i].headers;
    EXPECT_EQ(records[i].key, "pump-1");
    EXPECT_EQ(headers.at("ce_type"), "landfall.twin.void");
    EXPECT_EQ(headers.at("ce_id"), name_of(reported) + "/" + std::to_string(i + 1));
    EXPECT_EQ(headers.at("ce_subject"), "twin/pump-1");
    EXPECT_EQ(headers.at("content-type"), "application/json");
    EXPECT_FALSE(headers.contains("ce_actor") || headers.contains("landfall-payload"));
    EXPECT_EQ(to_hex(headers.at("landfall-row")), to_hex(rows[i]));
    EXPECT_FALSE(headers.contains("landfall-chain")) << "it follows from the records before it";
    const json shown = json::parse(event_json({run, Stream::reported, i + 1}, decode_row(rows[i]).value()));
    EXPECT_EQ(shown.at("kind"), "void");
    EXPECT_EQ(shown.at("payload"), json::parse(records[i].value));
    EXPECT_EQ(
        json::parse(records[i].value),
        json({{"object", "twin/pump-1"},
              {"changes", {{{"path", "/p/speed"}, {"supersedes", {name_of(reported) + "/" + std::to_string(i)}}}}}}));
  }
}

TEST(AChange, ShowsNumbersAsTheyAreWritten) {
  std::vector<Op> ops = {{"/p/a/c", std::string("32.50\0more", 10), {}},
                         {"/p/b/c", R"({"id":18446744073709551616,"of":[1e30,-0.10,7,true]})", {}},
                         {"/p/c/c", std::string(300, '[') + "1.50" + std::string(300, ']'), {}},
                         {"/p/d/c", std::string(60, '[') + "1.50" + std::string(60, ']'), {}},
                         {"/p/e/c", "1e400", {}}};
  const std::string payload = encode_ops(ops, desired).value();
  const Event event = made(Kind::change, "twin/pump-1", payload);
  const auto shown = change_json(desired, event);
  ASSERT_TRUE(shown.ok());
  const std::string numbers =
      R"({"path":"/p/a/c","value":32.50,"supersedes":[]},)"
      R"({"path":"/p/b/c","value":{"id":18446744073709551616,"of":[1e30,-0.10,7,true]},"supersedes":[]},)"
      R"({"path":"/p/c/c","value":{"base64":")";
  EXPECT_NE(shown->find(numbers), std::string::npos) << *shown;
  EXPECT_NE(shown->find("[[1.50]]"), std::string::npos) << *shown;
  EXPECT_NE(shown->find(R"({"path":"/p/e/c","value":{"base64":"MWU0MDA="},"supersedes":[]})"), std::string::npos)
      << *shown;
  EXPECT_TRUE(json::accept(*shown));
  const auto line = event_json({run, Stream::desired, 1}, event);
  EXPECT_NE(line.find(numbers), std::string::npos) << line;
}

TEST(RecordReader, RefusesWhatNoHubWrites) {
  const std::string id = name_of(telemetry) + "/1";
  const RecordHeaders good = {{"ce_id", id},
                              {"ce_type", "landfall.telemetry"},
                              {"ce_time", "2025-06-15T15:06:40.001Z"},
                              {"ce_subject", "pump-1"}};
  ASSERT_TRUE(read_record("pump-1", "1", good).ok());
  const auto with = [&](std::string_view name, std::string_view value) {
    RecordHeaders headers = good;
    for (auto& [known, text] : headers) {
      if (known == name) return text = value, headers;
    }
    headers.emplace_back(name, value);
    return headers;
  };
  const std::string long_row(event_row_bytes_max + 1, 'x'), long_subject(event_subject_bytes_max + 1, 's');
  const std::pair<std::string_view, std::string_view> bad[] = {{"ce_id", ""},
                                                               {"ce_id", "x/telemetry/1"},
                                                               {"ce_type", "landfall.kind.256"},
                                                               {"ce_type", "landfall.kind."},
                                                               {"ce_type", "landfall.twin.desired"},
                                                               {"ce_type", "landfall.kind.19"},
                                                               {"ce_time", ""},
                                                               {"ce_time", "2025-13-15T15:06:40.001Z"},
                                                               {"ce_time", "2025-06-15T15:06:40.001+"},
                                                               {"ce_tick", "65536"},
                                                               {"ce_tick", "-1"},
                                                               {"ce_clock", "atomic"},
                                                               {"ce_deps", "0"},
                                                               {"ce_deps", "zz"},
                                                               {"ce_subject", "a\nb"},
                                                               {"ce_subject", long_subject},
                                                               {"landfall-row", long_row},
                                                               {"ce_type", "landfall.twin.void"},
                                                               {"landfall-chain", "x"},
                                                               {"landfall-row", "x"}};
  for (const auto& [name, value] : bad) {
    const auto read = read_record("pump-1", "1", with(name, value));
    ASSERT_FALSE(read.ok()) << name << ": " << value.substr(0, 100);
    EXPECT_EQ(read.error().code, Code::corrupt);
  }
  EXPECT_FALSE(read_record("pump-1", std::string(event_payload_bytes_max + 1, 'x'), good).ok());
  EXPECT_FALSE(read_record("", "", {}).ok());
}

}  // namespace
}  // namespace landfall
