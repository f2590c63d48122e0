#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace landfall::cli {

using Json = nlohmann::json;

// What a command that has ended left.
struct Ended {
  int exit_code = -1;  // 128 + signal where it was killed
  std::string out, err;
  Json json() const { return Json::parse(out); }
};

// Whether every one of `words` occurs in `text`.
::testing::AssertionResult holds(const std::string& text, const std::vector<std::string>& words);

// Runs the landfall program to its end.
Ended landfall(const std::vector<std::string>& arguments, const std::string& input = {});

// A node in the background, stopped (and its broker with it) when this goes.
class Running {
 public:
  Running(std::string role, std::filesystem::path dir);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void start();
  // As start(), with every file limited to so many bytes: writing beyond fails, as on a full disk.
  void start_on_small_disk(std::uint64_t file_bytes_max);
  int stop();  // SIGTERM; returns the exit code
  void kill9();
  int wait();  // until it has ended by itself
  bool running();
  std::string said() const;  // all that it has written

  // GET /v1/status, or null where it does not answer.
  Json status() const;
  // The first status for which `condition` holds; fails the test after the deadline.
  Json await(const char* what, const std::function<bool(const Json&)>& condition);
  Json await_ready();
  const std::filesystem::path& dir() const { return dir_; }

 private:
  int reap(bool block);
  void spawn(std::uint64_t file_bytes_max);
  std::string role_;
  std::filesystem::path dir_;
  pid_t pid_ = 0;
  int exit_code_ = -1;
};

// Polls until `condition` holds. False after the deadline.
bool eventually(const std::function<bool()>& condition, std::chrono::seconds deadline = std::chrono::seconds(60));

std::uint16_t free_port();

// A folder of the test's own, removed at the end.
class Folder {
 public:
  Folder();
  ~Folder();
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void replace_in_file(const std::filesystem::path& file, const std::string& from, const std::string& to);

}  // namespace landfall::cli
