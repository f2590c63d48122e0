#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cloudsync/network.h"
#include "schemas/frame.h"

namespace landfall {

// One end: remembers what it was told, and proves that it is never called from inside its own calls.
struct Talker : LinkUser {
  std::vector<Link*> open;
  std::vector<std::string> frames;  // bodies
  std::vector<Error> closed;
  std::size_t links = 0, drained = 0;
  bool calling = false;

  void on_open(Link& link) override {
    EXPECT_FALSE(calling);
    open.push_back(&link);
    ++links;
  }
  void on_frame(Link& link, FrameView frame) override {
    EXPECT_FALSE(calling);
    EXPECT_EQ(std::ranges::count(open, &link), 1) << "a frame outside of a link's life";
    frames.emplace_back(frame.body);
  }
  void on_drained(Link&) override {
    EXPECT_FALSE(calling);
    ++drained;
  }
  void on_closed(Link& link, const Error& why) override {
    EXPECT_FALSE(calling);
    EXPECT_EQ(std::erase(open, &link), 1u) << "closed twice, or never opened";
    closed.push_back(why);
  }

  void send(const std::string& body) {
    calling = true;
    open.at(0)->send(encode_frame(FrameType::chunk, body));
    calling = false;
  }
  void close() {
    calling = true;
    open.at(0)->close({Code::unavailable, "the test closes it"});
    calling = false;
  }
};

}  // namespace landfall
