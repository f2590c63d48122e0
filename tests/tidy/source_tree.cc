#include "tests/tidy/source_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace landfall::tidy {
namespace {

bool is_identifier(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool is_ours(const std::filesystem::path& path) {
  static const std::set<std::string> suffixes = {".h",  ".cc", ".c",    ".capnp", ".cmake", ".txt", ".md",
                                                 ".sh", ".py", ".toml", ".yaml",  ".json",  ".xml"};
  // Measured and golden data are nobody's prose.
  return suffixes.contains(path.extension().string()) && path.string().find("/golden/") == std::string::npos;
}

// Where the literal that begins at `at` ends: the index after its closing quote.
std::size_t literal_end(std::string_view text, std::size_t at) {
  const char quote = text[at];
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote || text[i] == '\n') {
      return i + 1;
    }
  }
  return text.size();
}

std::size_t raw_literal_end(std::string_view text, std::size_t quote) {
  const auto open = text.find('(', quote);
  if (open == std::string_view::npos) return text.size();
  const auto close = ")" + std::string(text.substr(quote + 1, open - quote - 1)) + "\"";
  const auto end = text.find(close, open);
  return end == std::string_view::npos ? text.size() : end + close.size();
}

std::size_t blank_end(std::string_view text, std::size_t i) {
  if (text.substr(i, 2) == "//") return std::min(text.find('\n', i), text.size());
  if (text.substr(i, 2) == "/*") {
    const auto end = text.find("*/", i + 2);
    return end == std::string_view::npos ? text.size() : end + 2;
  }
  if (text[i] == '"') return i > 0 && text[i - 1] == 'R' ? raw_literal_end(text, i) : literal_end(text, i);
  // A quote inside a number (1'000) opens nothing.
  if (text[i] == '\'' && !(i > 0 && is_identifier(text[i - 1]))) return literal_end(text, i);
  return i;
}

}  // namespace

std::string blank_comments_and_literals(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < text.size();) {
    const auto end = blank_end(text, i);
    if (end == i) {
      ++i;
      continue;
    }
    for (; i < end; ++i) {
      if (out[i] != '\n') out[i] = ' ';
    }
  }
  return out;
}

std::vector<SourceFile> read_tree() {
  namespace fs = std::filesystem;
  const fs::path top = LANDFALL_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (auto it = fs::recursive_directory_iterator(top); it != fs::recursive_directory_iterator(); ++it) {
    const auto name = it->path().filename().string();
    if (it->is_directory()) {
      if (name.starts_with(".") || name == "build" || name.starts_with("build-")) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file() || !is_ours(it->path())) continue;
    std::ostringstream text;
    text << std::ifstream(it->path(), std::ios::binary).rdbuf();
    SourceFile file{.path = it->path().lexically_relative(top).generic_string(), .text = text.str(), .code = {}};
    if (file.is_cpp()) file.code = blank_comments_and_literals(file.text);
    files.push_back(std::move(file));
  }
  std::ranges::sort(files, {}, &SourceFile::path);
  return files;
}

std::vector<Include> includes_of(const SourceFile& file) {
  std::vector<Include> includes;
  std::istringstream lines(file.text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const auto open = line.find_first_of("<\"", hash);
    if (open == std::string::npos || line.find("include", hash) > open) continue;
    const auto close = line.find(line[open] == '<' ? '>' : '"', open + 1);
    if (close == std::string::npos) continue;
    includes.push_back({number, line[open] == '"', line.substr(open + 1, close - open - 1)});
  }
  return includes;
}

std::vector<int> lines_with(std::string_view text, std::string_view token) {
  std::vector<int> lines;
  int line = 1;
  std::size_t counted = 0;
  for (auto at = text.find(token); at != std::string_view::npos; at = text.find(token, at + token.size())) {
    const auto end = at + token.size();
    const bool continues_left = at > 0 && is_identifier(token.front()) && is_identifier(text[at - 1]);
    const bool continues_right =
        end < text.size() && is_identifier(token.back()) && token.back() != '_' && is_identifier(text[end]);
    if (continues_left || continues_right) continue;
    line += static_cast<int>(std::ranges::count(text.substr(counted, at - counted), '\n'));
    counted = at;
    lines.push_back(line);
  }
  return lines;
}

}  // namespace landfall::tidy
