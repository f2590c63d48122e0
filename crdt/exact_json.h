#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// JSON whose numbers stay as they are written: 12.50, 1e30, 18446744073709551616. A number that nlohmann::json would write
// in another way is kept as its text, in a binary value, which JSON text holds none of. -0 is 0; what no 64-bit float comes
// near (1e400) is no JSON. To write, copy or compare a value takes a stack frame per level: json_text.h says how many.

namespace landfall {

template <class Json>
bool is_exact_number(const Json& value) {
  return value.is_number() || value.is_binary();
}

// Of one for which is_exact_number() holds.
template <class Json>
double nearest_double(const Json& number) {
  if (!number.is_binary()) return number.template get<double>();
  const auto& text = number.get_binary();
  return Json::parse(text.begin(), text.end()).template get<double>();
}

namespace exact_json {

template <class Json>
class Reader {
 public:
  explicit Reader(Json& root) : root_(root) {}
  bool null() { return put(nullptr) != nullptr; }
  bool boolean(bool value) { return put(value) != nullptr; }
  bool number_integer(typename Json::number_integer_t value) { return put(value) != nullptr; }
  bool number_unsigned(typename Json::number_unsigned_t value) { return put(value) != nullptr; }
  bool number_float(typename Json::number_float_t value, const std::string& text) {
    Json number(value);
    if (number.dump() != text) number = Json::binary({text.begin(), text.end()});
    return put(std::move(number)) != nullptr;
  }
  bool string(std::string& value) { return put(std::move(value)) != nullptr; }
  bool binary(typename Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool key(std::string& key) { return key_ = std::move(key), true; }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) { return false; }

 private:
  Json* put(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    Json& top = *open_.back();
    if (!top.is_array()) return &(top[key_] = std::move(value));
    top.push_back(std::move(value));
    return &top.back();
  }
  bool open(Json value) { return open_.push_back(put(std::move(value))), true; }
  bool close() { return open_.pop_back(), true; }

  Json& root_;
  std::vector<Json*> open_;
  std::string key_;
};

template <class Json>
bool has_kept_text(const Json& value) {
  if (value.is_binary()) return true;
  if (!value.is_structured()) return false;
  for (const auto& part : value) {
    if (has_kept_text(part)) return true;
  }
  return false;
}

template <class Json>
void append(std::string& to, const Json& value, int indent, std::size_t level) {
  if (value.is_binary()) {
    to.append(value.get_binary().begin(), value.get_binary().end());
    return;
  }
  if (!has_kept_text(value) && indent < 0) {
    to += value.dump(-1, ' ', false, Json::error_handler_t::replace);
    return;
  }
  if (!value.is_structured() || value.empty()) {
    to += value.dump(-1, ' ', false, Json::error_handler_t::replace);
    return;
  }
  const auto line = [&](std::size_t levels) {
    if (indent >= 0) to.append(1, '\n').append(levels * static_cast<std::size_t>(indent), ' ');
  };
  const bool is_object = value.is_object();
  to += is_object ? '{' : '[';
  for (auto part = value.begin(); part != value.end(); ++part) {
    if (part != value.begin()) to += ',';
    line(level + 1);
    if (is_object) {
      to += Json(part.key()).dump(-1, ' ', false, Json::error_handler_t::replace);
      to += indent >= 0 ? ": " : ":";
    }
    append(to, *part, indent, level + 1);
  }
  line(level);
  to += is_object ? '}' : ']';
}

}  // namespace exact_json

// Discarded where it is no JSON. The parser does not look behind a byte 00, which no JSON holds.
template <class Json = nlohmann::json>
Json read_exact(std::string_view text) {
  Json root;
  exact_json::Reader<Json> reader(root);
  if (text.find('\0') != text.npos || !Json::sax_parse(text, &reader)) return Json(Json::value_t::discarded);
  return root;
}

// On one line, or by lines with `indent`, as dump() of nlohmann::json does it.
template <class Json>
std::string write_exact(const Json& value, int indent = -1) {
  std::string text;
  exact_json::append(text, value, indent, 0);
  return text;
}

}  // namespace landfall
