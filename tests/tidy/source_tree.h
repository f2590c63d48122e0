#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace landfall::tidy {

struct SourceFile {
  std::string path;  // from the top of the tree, with '/'
  std::string text;
  std::string code;  // C++ only: text with comments and the insides of literals blanked, same lines
  std::string folder() const { return path.substr(0, path.find('/')); }
  bool ends_with(std::string_view suffix) const { return std::string_view(path).ends_with(suffix); }
  bool is_cpp() const { return ends_with(".h") || ends_with(".cc") || ends_with(".c"); }
};

// Every text file of ours, sorted by path: nothing below build/, .git or another dot folder.
std::vector<SourceFile> read_tree();

// Blanks comments and the insides of string and character literals.
std::string blank_comments_and_literals(std::string_view text);

struct Include {
  int line;
  bool quoted;
  std::string target;
};
std::vector<Include> includes_of(const SourceFile& file);

// Lines (1-based) of `text` where `token` stands and does not continue an identifier to its left; to its right only
// where the token ends in a letter or digit.
std::vector<int> lines_with(std::string_view text, std::string_view token);

}  // namespace landfall::tidy
