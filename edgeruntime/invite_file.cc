#include <toml++/toml.h>

#include <sstream>

#include "edgeruntime/address.h"
#include "edgeruntime/identity.h"
#include "edgeruntime/openssl_values.h"
#include "edgeruntime/spiffe_id.h"

namespace landfall {
namespace {

Error wrong(const std::string& key, const std::string& why) {
  return {Code::corrupt, "invite file: " + key + ": " + why + "; ask the hub for a new one (landfall hub invite)"};
}

Status check_parts(const Invite& invite) {
  if (!is_path_segment(invite.name) || invite.name.size() > 64) return wrong("name", "not a node's name");
  if (auto address = parse_address(invite.hub_address); !address) return wrong("hub", address.error().detail);
  if (!is_trust_domain(invite.identity.trust_domain)) return wrong("trust_domain", "not a trust domain");
  if (auto roots = parse_certificates(invite.identity.bundle_pem); !roots) return wrong("roots", roots.error().detail);
  auto chain = parse_certificates(invite.identity.chain_pem);
  if (!chain) return wrong("certificate", chain.error().detail);
  auto key = parse_key(invite.identity.key_pem);
  if (!key) return wrong("key", key.error().detail);
  if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
    openssl_reason();
    return wrong("key", "does not belong to the certificate");
  }
  return ok();
}

}  // namespace

std::string encode_invite(const Invite& invite) {
  std::ostringstream text;
  text << "# A Landfall invite: whoever holds it may enrol one node. Keep it secret, use it once, then delete it.\n"
       << "# On the new node: landfall edge init --dir DIR --invite THIS-FILE\n"
       << "[invite]\n"
       << "name = \"" << invite.name << "\"\n"
       << "hub = \"" << invite.hub_address << "\"\n"
       << "trust_domain = \"" << invite.identity.trust_domain << "\"\n"
       << "roots = '''\n"
       << invite.identity.bundle_pem << "'''\n"
       << "certificate = '''\n"
       << invite.identity.chain_pem << "'''\n"
       << "key = '''\n"
       << invite.identity.key_pem << "'''\n";
  return text.str();
}

Result<Invite> decode_invite(std::string_view text) {
  Invite invite;
  const std::pair<const char*, std::string*> fields[] = {
      {"name", &invite.name},
      {"hub", &invite.hub_address},
      {"trust_domain", &invite.identity.trust_domain},
      {"roots", &invite.identity.bundle_pem},
      {"certificate", &invite.identity.chain_pem},
      {"key", &invite.identity.key_pem},
  };
  if (text.size() > (64 << 10)) return wrong("file", "longer than 64 KiB");
  try {
    auto file = toml::parse(text);
    auto* table = file["invite"].as_table();
    if (table == nullptr || file.size() != 1) return wrong("[invite]", "must be the only section");
    for (const auto& [key, target] : fields) {
      auto value = (*table)[key].value<std::string>();
      if (!value) return wrong(key, "missing or not text");
      *target = *std::move(value);
    }
    if (table->size() != std::size(fields)) return wrong("[invite]", "holds a key that this version does not know");
  } catch (const toml::parse_error& error) {
    std::ostringstream where;
    where << "line " << error.source().begin.line;
    return wrong(where.str(), printable(error.description()));
  }
  LANDFALL_TRY(check_parts(invite));
  return invite;
}

}  // namespace landfall
