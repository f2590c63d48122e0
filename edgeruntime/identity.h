#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cloudsync/network.h"
#include "schemas/ids.h"
#include "schemas/result.h"

namespace landfall {

// Keys, certificates and who somebody is. Keys are ECDSA P-256. Certificates are X.509-SVIDs (SPIFFE): one
// URI SAN spiffe://<trust domain>/{hub,node}/<node id> or /invite/<name>. Key and certificate values are PEM text.
// Functions here are pure but for the *_file ones; time comes in as an argument. Any thread.

// Every life time of a certificate. not_before lies `certificate_backdating` before the time of issue, since clocks
// aboard may lag.
inline constexpr std::chrono::hours svid_life{90 * 24};
inline constexpr std::chrono::hours invite_life{7 * 24};
inline constexpr std::chrono::hours hub_life{365 * 24};
inline constexpr std::chrono::hours root_life{20 * 365 * 24};
inline constexpr std::chrono::hours certificate_backdating{1};

// What a process needs to prove itself and to judge others.
struct Identity {
  std::string trust_domain;  // "fleet.example"
  std::string key_pem;       // private
  std::string chain_pem;     // own certificate first
  std::string bundle_pem;    // trust roots
};

// The fleet's own certificate authority, kept by the hub.
struct TrustRoot {
  std::string trust_domain;
  std::string key_pem;  // private
  std::string cert_pem;
};

std::string make_key();
// Errors: `corrupt` where the text holds no P-256 private key.
Result<NodeId> node_of_key(std::string_view key_pem);

// Errors: `out_of_range` for a trust domain that is not [a-z0-9.-_]{1,255}.
Result<TrustRoot> make_trust_root(std::string_view trust_domain, std::int64_t unix_ms);

// A certificate request proves that its sender holds the key; it asks for nothing else.
Result<std::string> make_csr(std::string_view key_pem);
Result<NodeId> verify_csr(std::string_view csr_pem);  // Errors: `corrupt`, `denied` (signature or kind of key)

// Issues the SVID of the key inside `csr_pem`: the node id in it is that key's, whatever the request says.
// Errors: as verify_csr, and `corrupt` for a damaged root.
Result<std::string> issue_svid(const TrustRoot& root, std::string_view csr_pem, Peer::Role role, std::int64_t unix_ms);

// What the operator carries to a new edge: where the hub is, how to know it, and a short-lived credential.
struct Invite {
  std::string name;         // [A-Za-z0-9._-]{1,64}, the last segment of the credential's SPIFFE id
  std::string hub_address;  // host:port
  Identity identity;        // role invite
};
// Errors: `out_of_range` for a bad name or address.
Result<Invite> make_invite(const TrustRoot& root, std::string_view name, std::string_view hub_address,
                           std::int64_t unix_ms);
std::string encode_invite(const Invite& invite);      // TOML text
Result<Invite> decode_invite(std::string_view text);  // Errors: `corrupt`, naming the key that is wrong

// Who holds the certificate `chain_der` (leaf first), if everything about it is right: form, trust domain, life at
// `unix_ms`, and a path of at most three certificates to a root of `bundle_pem`. The holding of the key is for TLS to
// prove. Errors: `denied`, each failure with its own reason and what the operator can do.
Result<Peer> verify_peer(const std::vector<std::string>& chain_der, std::string_view bundle_pem,
                         std::string_view trust_domain, std::int64_t unix_ms);
// The same for a chain in PEM. Proves one's own files at start.
Result<Peer> verify_chain(std::string_view chain_pem, std::string_view bundle_pem, std::string_view trust_domain,
                          std::int64_t unix_ms);
// End of life of the first certificate. Errors: `corrupt`.
Result<std::int64_t> expires_unix_ms(std::string_view chain_pem);
// When a third of its life has passed: months are left then for a link to come. Errors: `corrupt`.
Result<std::int64_t> renewal_due_unix_ms(std::string_view chain_pem);

// ---- files

// Writes by temporary file, fsync, rename and fsync of the directory: the old content or the new, never a part. Makes
// the directory, 0700, where it is missing. Errors: `disk`.
Status write_secret_file(const std::filesystem::path& path, std::string_view content);  // 0600
Status write_public_file(const std::filesystem::path& path, std::string_view content);  // 0644

// Refuses a file that others could have read or put there: a symbolic link, another owner, any bit for group or world,
// or in a directory that others may write. Errors: `not_found`, `denied` naming the file and the command that mends
// it, `disk`.
Result<std::string> read_secret_file(const std::filesystem::path& path);
Result<std::string> read_public_file(const std::filesystem::path& path);  // Errors: `not_found`, `disk`

// An identity in `directory`: key.pem, chain.pem, bundle.pem, trust-domain. The key is written last, so that a
// directory with a key is whole. A trust root: root-key.pem, root.pem, beside them.
// Errors: as the file functions; loading also `corrupt` or `denied` where the parts do not fit together.
Status save_identity(const std::filesystem::path& directory, const Identity& identity);
Result<Identity> load_identity(const std::filesystem::path& directory);
Status save_trust_root(const std::filesystem::path& directory, const TrustRoot& root);
Result<TrustRoot> load_trust_root(const std::filesystem::path& directory);

}  // namespace landfall
