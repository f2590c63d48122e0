#include "devicetwin/kubeedge_yaml.h"

#include <exception>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "devicetwin/twin_json.h"
#include "schemas/limits.h"

namespace landfall::kubeedge {
namespace {

Error refused(std::string what) { return {Code::out_of_range, std::move(what)}; }
std::string too_many() { return "more than " + std::to_string(import_nodes_max) + " values"; }

// Counts before a tree is built: on some malformed text the library finds documents without end (0.7: ", a").
class Counter final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override { count(); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override { count(); }
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override { count(); }
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override { count(); }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    count();
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    count();
  }
  void OnMapEnd() override {}

 private:
  void count() {
    if (++values_ > import_nodes_max) throw std::length_error(too_many());
  }
  std::size_t values_ = 0;
};

void check_count(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  Counter counter;
  while (parser.HandleNextDocument(counter)) {}
}

// The library keeps an alias as another name of one node, which may be part of itself; whoever walks the tree meets it
// again each time.
Status check_size(const YAML::Node& node, std::size_t depth, std::size_t& nodes) {
  if (++nodes > import_nodes_max) return refused(too_many());
  if (depth > import_depth_max) return refused("nested deeper than " + std::to_string(import_depth_max) + " levels");
  if (node.IsScalar() && !is_json(json_string(node.Scalar()))) return refused("not UTF-8");
  if (!node.IsSequence() && !node.IsMap()) return ok();
  for (const auto& child : node) {
    if (node.IsMap()) {
      if (!child.first.IsScalar()) return refused("a key is no text");
      LANDFALL_TRY(check_size(child.first, depth + 1, nodes));
    }
    LANDFALL_TRY(check_size(node.IsMap() ? child.second : YAML::Node(child), depth + 1, nodes));
  }
  return ok();
}

bool is_plain(const YAML::Node& node) { return node.Tag() == "?" || node.Tag().empty(); }

bool is_json_scalar(const std::string& text) {
  if (text == "true" || text == "false") return true;
  return !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) && is_json(text);
}

void write(const YAML::Node& node, std::string& out) {
  if (!node.IsDefined() || node.IsNull()) {
    out += "null";
  } else if (node.IsScalar()) {
    out += is_plain(node) && is_json_scalar(node.Scalar()) ? node.Scalar() : json_string(node.Scalar());
  } else {
    char next = node.IsMap() ? '{' : '[';
    for (const auto& child : node) {
      out += std::exchange(next, ',');
      if (node.IsMap()) {
        out += json_string(child.first.Scalar()) + ":";
        write(child.second, out);
      } else {
        write(child, out);
      }
    }
    if (next != ',') out += next;
    out += node.IsMap() ? '}' : ']';
  }
}

}  // namespace

struct Yaml::Node {
  YAML::Node value;
};

Yaml::Yaml(Node node) : node_(std::make_unique<Node>(std::move(node))) {}
Yaml::Yaml() : Yaml(Node{YAML::Node(YAML::NodeType::Undefined)}) {}
Yaml::~Yaml() = default;
Yaml::Yaml(const Yaml& other) : Yaml(Node{other.node_->value}) {}
Yaml::Yaml(Yaml&&) noexcept = default;
Yaml& Yaml::operator=(const Yaml& other) {
  node_ = std::make_unique<Node>(*other.node_);
  return *this;
}
Yaml& Yaml::operator=(Yaml&&) noexcept = default;

Result<std::vector<Yaml>> Yaml::read(std::string_view text) {
  if (text.size() > import_bytes_max) return refused("more than " + std::to_string(import_bytes_max) + " bytes");
  std::vector<Yaml> documents;
  try {
    std::size_t nodes = 0;
    const std::string owned(text);
    check_count(owned);
    for (const auto& document : YAML::LoadAll(owned)) {
      LANDFALL_TRY(check_size(document, 0, nodes));
      const Yaml whole{Node{document}};
      if (whole.is_missing()) continue;
      const auto kind = whole.at("kind").text();
      if (!kind.ends_with("List")) {
        documents.push_back(whole);
        continue;
      }
      whole.at("items").each([&](const Yaml& item) { documents.push_back(item); });
    }
  } catch (const std::exception& e) {
    return refused(std::string("not YAML: ") + e.what());
  }
  return documents;
}

bool Yaml::is_missing() const { return !node_->value.IsDefined() || node_->value.IsNull(); }
bool Yaml::is_map() const { return node_->value.IsDefined() && node_->value.IsMap(); }
bool Yaml::is_list() const { return node_->value.IsDefined() && node_->value.IsSequence(); }

Yaml Yaml::at(const char* key) const {
  if (!is_map()) return {};
  for (const auto& member : node_->value) {
    if (member.first.Scalar() == key) return Yaml{Node{member.second}};
  }
  return {};
}

void Yaml::each(const std::function<void(const Yaml&)>& visit) const {
  if (!is_list()) return;
  for (const auto& element : node_->value) visit(Yaml{Node{element}});
}

void Yaml::each(const std::function<void(const std::string&, const Yaml&)>& visit) const {
  if (!is_map()) return;
  for (const auto& member : node_->value) visit(member.first.Scalar(), Yaml{Node{member.second}});
}

std::string Yaml::text() const {
  return node_->value.IsDefined() && node_->value.IsScalar() ? node_->value.Scalar() : std::string();
}

std::string Yaml::json() const {
  std::string out;
  write(node_->value, out);
  return out;
}

}  // namespace landfall::kubeedge
