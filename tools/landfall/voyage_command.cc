// landfall voyage

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>

#include "tools/landfall/commands.h"
#include "tools/landfall/talk.h"
#include "tools/landfall/voyage.h"

namespace landfall {
namespace {

int sail(const VoyageOptions& options, bool json) {
  const auto summary = [&] {
    Progress progress("publishing");
    return run_voyage(options, [&](std::uint64_t acknowledged) { progress.show(acknowledged, "messages"); });
  }();
  if (!summary) return fail(summary.error());
  if (json) {
    std::cout << to_json(*summary) << "\n";
  } else {
    std::printf("%llu telemetry and %llu alarm messages acknowledged in %.1f s, %llu sent again\n",
                static_cast<unsigned long long>(summary->telemetry), static_cast<unsigned long long>(summary->alarm),
                summary->seconds, static_cast<unsigned long long>(summary->resent));
  }
  return summary->refused == 0 ? 0 : 1;
}

}  // namespace

void add_voyage(CLI::App& program, int& exit_code) {
  auto* command =
      program.add_subcommand("voyage", "Publishes the lines of a file over MQTT, as a device aboard would.");
  auto options = std::make_shared<VoyageOptions>();
  auto json = std::make_shared<bool>(false);
  auto give_up_s = std::make_shared<std::int64_t>(options->give_up.count());
  command->add_option("--file", options->file, "File whose lines are the messages")->required();
  command->add_option("--host", options->host, "The broker")->capture_default_str();
  command->add_option("--port", options->port, "Its port")->capture_default_str();
  command->add_option("--device", options->device, "Device in landfall/<device>/telemetry/<subject>")
      ->capture_default_str();
  command->add_option("--subject", options->subject, "Last level of the topic")->capture_default_str();
  command->add_option("--qos", options->qos, "0, 1 or 2")->check(CLI::Range(0, 2))->capture_default_str();
  command->add_option("--from", options->from, "Lines left out at the beginning")->capture_default_str();
  command->add_option("--count", options->count, "Lines published, 0 for all that follow")->capture_default_str();
  command->add_option("--alarms-every", options->alarms_every, "An alarm after so many lines, 0 for none")
      ->capture_default_str();
  command->add_option("--rate", options->rate, "Lines per second, 0 for as fast as they are acknowledged")
      ->capture_default_str();
  command->add_option("--window", options->window, "Messages in flight")->capture_default_str();
  command->add_flag("--plain", options->plain, "Without the CloudEvents properties that make a resend known again");
  command->add_option("--source", options->source, "CloudEvents source; without it one that names this voyage alone");
  command->add_option("--give-up", *give_up_s, "Seconds without any acknowledgement or connection")
      ->capture_default_str();
  command->add_flag("--json", *json, "Print one JSON object");
  command->footer("Example: landfall voyage --file nmea0183.log --port 1883 --rate 100");
  command->callback([options, json, give_up_s, &exit_code] {
    options->give_up = std::chrono::seconds(*give_up_s);
    exit_code = sail(*options, *json);
  });
}

}  // namespace landfall
