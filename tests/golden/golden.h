#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

// Bytes that some version of Landfall wrote, one file per record: tests/golden/<record>/<name>.bin. They are decoded for
// ever, so a file is never changed or deleted. README.md beside this file says how one is added.

namespace landfall {

// The file's bytes. Where there is no such file and LANDFALL_GOLDEN_NEW is set, `encoded` becomes the file.
inline std::string golden(const std::string& name, const std::string& encoded) {
  const std::filesystem::path path = std::filesystem::path(LANDFALL_GOLDEN_DIR) / (name + ".bin");
  if (!std::filesystem::exists(path) && std::getenv("LANDFALL_GOLDEN_NEW") != nullptr) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << encoded;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) ADD_FAILURE() << "no golden file " << path << "; tests/golden/README.md says how to add one";
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace landfall
