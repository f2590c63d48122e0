#include "edgeruntime/node.h"

#include <sys/stat.h>

#include "edgeruntime/identity.h"
#include "edgeruntime/node_body.h"
#include "edgeruntime/pending_invite.h"

namespace landfall {
namespace {

std::filesystem::path enrolment_folder(const NodePaths& paths) { return paths.dir / "enrolment"; }

// Only the owner's: keys and events lie in it.
Status make_folder(const NodePaths& paths) {
  std::error_code error;
  for (const auto& file : {paths.config(), paths.identity(), enrolment_folder(paths)}) {
    if (std::filesystem::exists(file, error)) {
      return Error{Code::conflict,
                   paths.dir.string() + " is a node already (" + file.string() + "): choose another folder"};
    }
  }
  std::filesystem::create_directories(paths.dir, error);
  if (error)
    return Error{Code::disk, paths.dir.string() + ": " + error.message() + ": choose a folder that you may write"};
  if (::chmod(paths.dir.c_str(), 0700) != 0) {
    return Error{Code::denied, paths.dir.string() + ": is another user's: choose a folder of your own"};
  }
  return ok();
}

// A folder with half a node in it would be taken for a node. What lay in it before stays.
Status or_undo(const NodePaths& paths, Status made) {
  if (made) return made;
  std::error_code ignored;
  std::filesystem::remove_all(paths.identity(), ignored);
  std::filesystem::remove_all(enrolment_folder(paths), ignored);
  std::filesystem::remove(paths.config(), ignored);
  std::filesystem::remove(paths.dir, ignored);  // where nothing else is in it
  return made;
}

Result<Invite> good_invite(std::string_view text, std::int64_t unix_ms) {
  auto invite = decode_invite(text);
  if (!invite) return std::move(invite).error();
  const auto& identity = invite->identity;
  const auto proven = verify_chain(identity.chain_pem, identity.bundle_pem, identity.trust_domain, unix_ms);
  if (!proven) return Error{proven.error()}.in("invite " + invite->name);
  return invite;
}

// What was asked for on the command line must pass the checks that the file will meet at the start.
Status check_config(const NodePaths& paths, const std::string& text) {
  std::vector<std::string> faults;
  const auto parsed = parse_config(text, paths.config().string(), faults);
  if (!parsed) return parsed.error();
  return ok();
}

}  // namespace

std::string_view software_name() { return "landfall " LANDFALL_VERSION; }

Status save_pending_invite(const NodePaths& paths, const PendingInvite& pending) {
  LANDFALL_TRY(write_secret_file(enrolment_folder(paths) / "key.pem", pending.key_pem));
  return write_secret_file(enrolment_folder(paths) / "invite.toml", encode_invite(pending.invite));
}

Result<PendingInvite> load_pending_invite(const NodePaths& paths) {
  auto key = read_secret_file(enrolment_folder(paths) / "key.pem");
  if (!key && key.error().code == Code::not_found) {
    return Error{Code::not_found,
                 paths.dir.string() +
                     ": neither an identity nor an invite: run `landfall edge init --invite FILE` in a new folder"};
  }
  if (!key) return std::move(key).error();
  const auto text = read_secret_file(enrolment_folder(paths) / "invite.toml");
  if (!text) return text.error();
  auto invite = decode_invite(*text);
  if (!invite) return std::move(invite).error();
  return PendingInvite{std::move(*invite), std::move(*key)};
}

Status forget_invite(const NodePaths& paths) {
  std::error_code error;
  std::filesystem::remove_all(enrolment_folder(paths), error);
  if (error) return Error{Code::disk, enrolment_folder(paths).string() + ": " + error.message()};
  return ok();
}

Status init_hub(const NodePaths& paths, const HubConfig& config, std::int64_t unix_ms) {
  LANDFALL_TRY(check_config(paths, config_text(config)));
  const auto root = make_trust_root(config.trust_domain, unix_ms);
  if (!root) return root.error();
  const auto key = make_key();
  const auto csr = make_csr(key);
  if (!csr) return csr.error();
  const auto chain = issue_svid(*root, *csr, Peer::Role::hub, unix_ms);
  if (!chain) return chain.error();
  LANDFALL_TRY(make_folder(paths));
  auto saved = save_trust_root(paths.identity(), *root);
  if (saved) saved = save_identity(paths.identity(), {config.trust_domain, key, *chain, root->cert_pem});
  if (saved) saved = write_public_file(paths.config(), config_text(config));
  return or_undo(paths, std::move(saved));
}

Result<NodeId> init_edge(const NodePaths& paths, const EdgeConfig& config, std::string_view invite_text,
                         std::int64_t unix_ms) {
  auto invite = good_invite(invite_text, unix_ms);
  if (!invite) return std::move(invite).error();
  LANDFALL_TRY(check_config(paths, config_text(config)));
  const auto key = make_key();
  const auto node = node_of_key(key);
  if (!node) return node.error();
  LANDFALL_TRY(make_folder(paths));
  auto saved = save_pending_invite(paths, {std::move(*invite), key});
  if (saved) saved = write_public_file(paths.config(), config_text(config));
  LANDFALL_TRY(or_undo(paths, std::move(saved)));
  return *node;
}

Result<NodeId> enrol_again(const NodePaths& paths, std::string_view invite_text, std::int64_t unix_ms) {
  auto invite = good_invite(invite_text, unix_ms);
  if (!invite) return std::move(invite).error();
  const auto config = load_config(paths.config());
  if (!config) return config.error();
  if (!std::holds_alternative<EdgeConfig>(*config))
    return Error{Code::conflict, paths.dir.string() + " is a hub: it renews its certificate by itself"};
  auto key = read_secret_file(paths.identity() / "key.pem");
  // The step below was taken, and the edge has not enrolled since.
  if (!key && key.error().code == Code::not_found) key = read_secret_file(enrolment_folder(paths) / "key.pem");
  if (!key) return std::move(key).error();
  const auto node = node_of_key(*key);
  if (!node) return node.error();
  // In this order: an identity beside an invite is kept, and the invite is the one that goes.
  LANDFALL_TRY(save_pending_invite(paths, {std::move(*invite), *std::move(key)}));
  std::error_code error;
  std::filesystem::remove_all(paths.identity(), error);
  if (error) return Error{Code::disk, paths.identity().string() + ": " + error.message()};
  return *node;
}

Result<std::string> make_hub_invite(const NodePaths& paths, std::string_view name, std::int64_t unix_ms) {
  const auto config = load_config(paths.config());
  if (!config) return config.error();
  const auto* hub = std::get_if<HubConfig>(&*config);
  if (hub == nullptr)
    return Error{Code::conflict, paths.dir.string() + " is an edge: invites are made where the hub is"};
  const auto root = load_trust_root(paths.identity());
  if (!root) return Error{root.error()}.in("trust root");
  const auto invite = make_invite(*root, name, hub->advertise, unix_ms);
  if (!invite) return invite.error();
  return encode_invite(*invite);
}

Result<std::string> invite_hub_address(std::string_view invite_text) {
  const auto invite = decode_invite(invite_text);
  if (!invite) return invite.error();
  return invite->hub_address;
}

Result<int> run_node(const NodePaths& paths, const NodeConfig& config) {
  const auto* hub = std::get_if<HubConfig>(&config);
  const auto node = hub != nullptr ? make_hub(paths, *hub) : make_edge(paths, std::get<EdgeConfig>(config));
  return node->run();
}

}  // namespace landfall
