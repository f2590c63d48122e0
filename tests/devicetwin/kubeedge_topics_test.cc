// Property: topics of KubeEdge's contract are read by whole levels, in both forms, and nothing else is taken for one.
#include "devicetwin/kubeedge_topics.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace landfall::kubeedge {
namespace {

TEST(KubeEdgeTopics, RequestsAreReadInBothForms) {
  const std::vector<std::pair<std::string, Request>> rows = {
      {"$hw/events/device/counter/twin/update", {Action::twin_update, Form::one_level, "counter"}},
      {"$hw/events/device/ns/counter/twin/update", {Action::twin_update, Form::two_levels, "ns/counter"}},
      {"$hw/events/device/counter/twin/get", {Action::twin_get, Form::one_level, "counter"}},
      {"$hw/events/device/default/counter/twin/get", {Action::twin_get, Form::two_levels, "default/counter"}},
      {"$hw/events/device/counter/twin/cloud_updated", {Action::cloud_updated, Form::one_level, "counter"}},
      {"$hw/events/device/a/b/twin/cloud_updated", {Action::cloud_updated, Form::two_levels, "a/b"}},
      {"$hw/events/device/counter/state/update", {Action::state_update, Form::one_level, "counter"}},
      {"$hw/events/device/a/b/state/get", {Action::state_get, Form::two_levels, "a/b"}},
      {"$hw/events/node/edge-1/membership/get", {Action::membership_get, Form::one_level, "edge-1"}},
      // Names that are parts of topics themselves: KubeEdge reads these wrongly.
      {"$hw/events/device/device/twin/update", {Action::twin_update, Form::one_level, "device"}},
      {"$hw/events/device/e/device/twin/update", {Action::twin_update, Form::two_levels, "e/device"}},
      {"$hw/events/device/twin/update/twin/update", {Action::twin_update, Form::two_levels, "twin/update"}},
      {"$hw/events/device/twin/twin/get", {Action::twin_get, Form::one_level, "twin"}},
      {"$hw/events/device/x/twin/twin/update", {Action::twin_update, Form::two_levels, "x/twin"}},
      {"$hw/events/node/device/membership/get", {Action::membership_get, Form::one_level, "device"}},
      // No names, but addressed to us: they get an answer.
      {"$hw/events/device//twin/update", {Action::twin_update, Form::one_level, ""}},
      {"$hw/events/device/a b/twin/get", {Action::twin_get, Form::one_level, "a b"}},
  };
  for (const auto& [topic, request] : rows) {
    const auto read = parse_request(topic);
    ASSERT_TRUE(read) << topic;
    EXPECT_EQ(*read, request) << topic;
  }
}

TEST(KubeEdgeTopics, AnswersAndStrangeTopicsAreNoRequests) {
  for (const std::string topic : {"$hw/events/device/counter/twin/update/result",
                                  "$hw/events/device/ns/counter/twin/update/delta",
                                  "$hw/events/device/counter/twin/update/document",
                                  "$hw/events/device/counter/twin/get/result",
                                  "$hw/events/device/counter/updated",
                                  "$hw/events/device/a/b/c/twin/update",
                                  "$hw/events/device/twin/update",
                                  "$hw/events/device/counter/twin",
                                  "$hw/events/device/counter/twin/update/",
                                  "$hw/events/upload/x",
                                  "$hw/events/device/counter/twin/updates",
                                  "$hw/events/device/counter/xtwin/update",
                                  "$hw/events/device/",
                                  "$hw/events/node/edge-1/membership/get/result",
                                  "$hw/events/node/a/b/membership/get",
                                  "$hw/events/node/edge-1/membership/detail",
                                  "$hw/events/onvif/resource/get",
                                  "hw/events/device/x/twin/update",
                                  "$ke/events/device/counter/data/update",
                                  "landfall/counter/twin/get",
                                  ""}) {
    EXPECT_FALSE(parse_request(topic)) << topic;
  }
}

TEST(KubeEdgeTopics, FiltersForDocumentsAndDeltasAreKnown) {
  const std::vector<std::pair<std::string, TwinFilter>> rows = {
      {"$hw/events/device/counter/twin/update/document", {Form::one_level, "", "counter", true}},
      {"$hw/events/device/ns/counter/twin/update/delta", {Form::two_levels, "ns", "counter", false}},
      {"$hw/events/device/+/twin/update/delta", {Form::one_level, "", "+", false}},
      {"$hw/events/device/+/+/twin/update/document", {Form::two_levels, "+", "+", true}},
  };
  for (const auto& [filter, asked] : rows) {
    const auto read = parse_twin_filter(filter);
    ASSERT_TRUE(read) << filter;
    EXPECT_EQ(*read, asked) << filter;
  }
  for (const std::string filter :
       {"$hw/events/#", "$hw/events/device/#", "$hw/events/device/counter/#", "$hw/events/device/counter/twin/update",
        "$hw/events/device/counter/twin/update/result", "$hw/events/device/a/b/c/twin/update/delta", "#", ""}) {
    EXPECT_FALSE(parse_twin_filter(filter)) << filter;
  }
}

}  // namespace
}  // namespace landfall::kubeedge
