// Runs every fuzz target without clang: all seeds as they are, then mutants of them from a fixed seed, so that a failure
// comes back. `fuzz_smoke [target [mutants per target]]`.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "targets.h"

namespace {

using Rng = std::mt19937_64;
constexpr std::size_t mutant_bytes_max = 4096;

std::vector<std::string> seeds_of(const std::string& name) {
  std::vector<std::string> seeds{""};
  for (const char* root : {LANDFALL_GOLDEN_DIR, LANDFALL_CORPUS_DIR}) {
    const std::filesystem::path folder = std::filesystem::path(root) / name;
    if (!std::filesystem::exists(folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  std::sort(seeds.begin(), seeds.end());  // the order of a directory is the file system's
  return seeds;
}

std::string mutant(const std::vector<std::string>& seeds, Rng& rng) {
  std::string bytes = seeds[rng() % seeds.size()];
  for (int edits = static_cast<int>(1 + rng() % 4); edits > 0; --edits) {
    const std::size_t at = bytes.empty() ? 0 : rng() % bytes.size();
    switch (bytes.empty() ? 3 : rng() % 7) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ 1 << rng() % 8); break;
      case 1: bytes[at] = static_cast<char>(rng()); break;
      case 2: bytes.erase(at, 1 + rng() % 16); break;
      case 3: bytes.insert(at, std::string(1 + rng() % 16, static_cast<char>(rng()))); break;
      case 4: bytes.resize(at); break;
      case 5: {
        const std::string& other = seeds[rng() % seeds.size()];
        if (!other.empty()) bytes.replace(at, 8, other, rng() % other.size(), 1 + rng() % 64);
        break;
      }
      default:  // a length that is meant to hurt
        bytes.replace(at, 4, rng() % 2 == 0 ? std::string(4, '\xff') : std::string("\0\0\0\x80", 4));
    }
  }
  bytes.resize(std::min(bytes.size(), mutant_bytes_max));
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  const int mutants = argc > 2 ? std::atoi(argv[2]) : 5000;
  for (const auto& target : landfall::fuzz::targets()) {
    if (!only.empty() && only != target.name) continue;
    const std::vector<std::string> seeds = seeds_of(target.name);
    std::printf("%s: %zu seeds, %d mutants\n", target.name, seeds.size(), mutants);
    std::fflush(stdout);
    Rng rng(1);
    for (const std::string& seed : seeds) target.run(seed);
    for (int i = 0; i < mutants; ++i) target.run(mutant(seeds, rng));
  }
}
