#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "edgeruntime/state_api.h"

// What the routes of StateApi share: bodies, listings, answers. Private to this folder.

namespace landfall {

using Json = nlohmann::json;
// The body as a JSON object whose keys are all among `known`, so that a misspelt one is no silent loss. Errors:
// `out_of_range`, naming the key.
Result<Json> parse_body(const std::string& body, std::initializer_list<std::string_view> known);
// The same of an object within it; `what` says which.
Status known_members(const Json& object, const char* what, std::initializer_list<std::string_view> known);
Result<bool> flag_member(const Json& object, const char* key);  // false where it is not there
Result<std::string> text_member(const Json& object, const char* key, std::string otherwise);
// `conditional`: a conflict is that If-Match did not hold (RFC 9110, 13.1.1).
OnWritten answer_written(HttpApi::Reply reply, bool conditional = false);
Status known_query(const ApiRequest& request, std::initializer_list<std::string_view> known);
// "after" and "limit" of a listing.
struct Page {
  std::string after;
  std::size_t limit = 100;
};
Result<Page> page_of(const ApiRequest& request);
// {"<what>":[...],"next":"..."}: next is there where more may follow.
ApiReply listing(const char* what, Json items, const Page& page, const std::string& last);
// `allowed`: "GET, PUT", as the header Allow says it.
ApiReply not_a_method(const ApiRequest& request, std::string_view allowed);
std::string document_json(const NamedDocument& view);
std::string json_text(const Json& value);

}  // namespace landfall
