// Property: only a certificate that is right in everything names a peer, and each wrong one is refused for its own
// reason; key files that others could have touched are not read.

#include "edgeruntime/identity.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "tests/edgeruntime/fleet.h"
#include "tests/edgeruntime/forge.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t now_ms = 1'800'000'000'000;  // 2027
constexpr std::int64_t day_ms = 24 * 3600 * 1000;
constexpr const char* domain = "fleet.example";

Result<Peer> verify(const std::vector<X509*>& chain, const TrustRoot& root, std::int64_t at = now_ms) {
  std::vector<std::string> der;
  for (auto* certificate : chain) der.push_back(certificate_der(certificate));
  return verify_peer(der, root.cert_pem, domain, at);
}

TEST(Identity, AMemberIsWhoItsKeySays) {
  Fleet fleet(now_ms);
  for (auto role : {Peer::Role::hub, Peer::Role::node, Peer::Role::invite}) {
    auto member = fleet.member(role);
    auto peer = verify_chain(member.chain_pem, member.bundle_pem, domain, now_ms);
    ASSERT_TRUE(peer.ok()) << peer.error().detail;
    EXPECT_EQ(peer->role, role);
    EXPECT_EQ(peer->node, *node_of_key(member.key_pem));
    EXPECT_EQ(peer->name, role == Peer::Role::invite ? "aurora" : to_string(peer->node));
  }
}

TEST(Identity, AForgedCertificateWithNothingWrongIsAccepted) {
  // Otherwise every refusal below could have another cause than it says.
  Fleet fleet(now_ms);
  auto signer = signer_of(fleet.root());
  auto made = forge({}, &signer, now_ms);
  auto peer = verify({made.certificate.get()}, fleet.root());
  EXPECT_TRUE(peer.ok()) << peer.error().detail;
}

TEST(Identity, RefusesEachBadCertificateForItsOwnReason) {
  Fleet fleet(now_ms);
  auto signer = signer_of(fleet.root());
  struct Bad {
    const char* reason;
    std::function<void(Forged&)> change;
  };
  auto path = [](const std::string& uri) { return [uri](Forged& f) { f.uris = {uri}; }; };
  const std::vector<Bad> cases = {
      {"it expired on 2027", [](Forged& f) { f.until_s = -60; }},
      {"not valid before 2027", [](Forged& f) { f.from_s = 60; }},
      {"wrong trust domain", [](Forged& f) { f.domain = "other.example"; }},
      {"trust domain is malformed", path("spiffe://Fleet.Example/node/x")},
      {"trust domain is malformed", path("spiffe://user@fleet.example/node/x")},
      {"trust domain is malformed", path("spiffe://fleet.example:443/node/x")},
      {"trust domain is malformed", path("spiffe:///node/x")},
      {"does not begin with spiffe://", path("https://fleet.example/node/x")},
      {"has no path", path("spiffe://fleet.example")},
      {"only hubs, nodes and invites", path("spiffe://fleet.example/")},
      {"only hubs, nodes and invites", path("spiffe://fleet.example/op/nemo")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/..")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/a/b")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/a/")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/%61")},
      {"path is not /node/<name>", path("spiffe://fleet.example/node/a?b")},
      {"path is not /node/<name>", path(std::string("spiffe://fleet.example/node/a\0b", 31))},
      {"longer than 2048", path("spiffe://fleet.example/node/" + std::string(2100, 'a'))},
      {"node id in it is not that of its key", path("spiffe://fleet.example/node/00000000000000000000000000000000")},
      {"node id in it is not that of its key", path("spiffe://fleet.example/hub/00000000000000000000000000000000")},
      {"more than one URI name",
       [](Forged& f) {
         f.uris = {"(its own)", "spiffe://fleet.example/hub/x"};
       }},
      {"more than one URI name",
       [](Forged& f) {
         f.uris = {"(its own)", "(its own)"};
       }},
      {"no SPIFFE id", [](Forged& f) { f.uris = {}; }},
      {"no SPIFFE id",
       [](Forged& f) {
         f.uris = {};
         f.dns = "fleet.example";
       }},
      {"its extensions are damaged", [](Forged& f) { f.san_twice = true; }},
      {"its subject is empty", [](Forged& f) { f.san_critical = false; }},
      {"a certificate authority's",
       [](Forged& f) {
         f.basic_constraints = "critical,CA:TRUE";
         f.key_usage = "critical,keyCertSign";
       }},
      {"allows signing certificates", [](Forged& f) { f.key_usage = "critical,digitalSignature,keyCertSign"; }},
      {"allows signing certificates", [](Forged& f) { f.key_usage = "critical,digitalSignature,cRLSign"; }},
      {"lacks digitalSignature", [](Forged& f) { f.key_usage = "critical,keyAgreement"; }},
      {"lacks digitalSignature", [](Forged& f) { f.key_usage = ""; }},
      {"lacks serverAuth or clientAuth", [](Forged& f) { f.extended_key_usage = "clientAuth"; }},
      {"lacks serverAuth or clientAuth", [](Forged& f) { f.extended_key_usage = "codeSigning"; }},
      {"not ECDSA P-256", [](Forged& f) { f.key_kind = "P-384"; }},
      {"not ECDSA P-256", [](Forged& f) { f.key_kind = "RSA"; }},
      {"not ECDSA P-256", [](Forged& f) { f.key_kind = "ED25519"; }},
      {"not X.509 version 3",
       [](Forged& f) {
         f.v1 = true;
         f.subject_empty = false;
       }},
      {"Missing Authority Key Identifier", [](Forged& f) { f.authority_key_id = false; }},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.reason);
    Forged forged;
    bad.change(forged);
    auto made = forge(forged, &signer, now_ms);
    auto peer = verify({made.certificate.get()}, fleet.root());
    ASSERT_FALSE(peer.ok());
    EXPECT_EQ(peer.error().code, Code::denied);
    EXPECT_NE(peer.error().detail.find(bad.reason), std::string::npos) << peer.error().detail;
    EXPECT_NE(peer.error().detail.find("; "), std::string::npos) << "no remedy: " << peer.error().detail;
    for (char c : peer.error().detail) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << "unprintable in a log line";
  }
  EXPECT_GE(cases.size(), 25u);
}

TEST(Identity, RefusesWhatNoRootOfTheFleetSigned) {
  Fleet fleet(now_ms), impostor(now_ms);
  auto signer = signer_of(fleet.root()), other = signer_of(impostor.root());
  auto reason = [&](const std::vector<X509*>& chain) {
    auto peer = verify(chain, fleet.root());
    return peer ? std::string("accepted") : peer.error().detail;
  };
  // The same names, another key: only the key identifier and the signature tell them apart.
  auto foreign = forge({}, &other, now_ms);
  EXPECT_NE(reason({foreign.certificate.get()}).find("not signed by a root of this fleet"), std::string::npos);
  EXPECT_NE(reason({foreign.certificate.get(), other.certificate.get()}).find("not signed by a root"),
            std::string::npos);
  auto own = forge({.subject_empty = false}, nullptr, now_ms);
  EXPECT_NE(reason({own.certificate.get()}).find("not signed by a root"), std::string::npos)
      << reason({own.certificate.get()});
  // The root's name and key identifier, but not its key.
  Signer mixed{std::move(other.key), std::move(signer.certificate)};
  auto unsigned_leaf = forge({}, &mixed, now_ms);
  EXPECT_NE(reason({unsigned_leaf.certificate.get()}).find("signature"), std::string::npos)
      << reason({unsigned_leaf.certificate.get()});
}

TEST(Identity, HoldsAuthoritiesToTheirOwnRules) {
  Fleet fleet(now_ms);
  auto root = signer_of(fleet.root());
  const Forged authority{.uris = {"spiffe://fleet.example"},
                         .san_critical = false,
                         .subject_empty = false,
                         .basic_constraints = "critical,CA:TRUE",
                         .key_usage = "critical,keyCertSign",
                         .extended_key_usage = ""};
  auto reason_under = [&](const Forged& middle_recipe) {
    auto middle = forge(middle_recipe, &root, now_ms);
    auto leaf = forge({}, &middle, now_ms);
    auto peer = verify({leaf.certificate.get(), middle.certificate.get()}, fleet.root());
    return peer ? std::string("accepted") : peer.error().detail;
  };
  EXPECT_EQ(reason_under(authority), "accepted");
  auto changed = authority;
  changed.uris = {"spiffe://other.example"};
  EXPECT_NE(reason_under(changed).find("is not that of trust domain"), std::string::npos);
  changed = authority;
  changed.uris = {"spiffe://fleet.example", "spiffe://fleet.example"};
  EXPECT_NE(reason_under(changed).find("more than one URI"), std::string::npos);
  changed = authority;
  changed.until_s = -60;
  EXPECT_NE(reason_under(changed).find("its authority expired"), std::string::npos) << reason_under(changed);
  // A node's own certificate must not make others.
  EXPECT_NE(reason_under({.subject_empty = false}), "accepted");

  auto outer = forge(authority, &root, now_ms);
  auto inner = forge(authority, &outer, now_ms);
  auto leaf = forge({}, &inner, now_ms);
  auto peer = verify({leaf.certificate.get(), inner.certificate.get(), outer.certificate.get()}, fleet.root());
  ASSERT_FALSE(peer.ok());
  EXPECT_NE(peer.error().detail.find("more than one intermediate"), std::string::npos) << peer.error().detail;
}

TEST(Identity, RefusesDamagedMissingAndOverlongChains) {
  Fleet fleet(now_ms);
  auto bundle = fleet.root().cert_pem;
  auto der = certificate_der(parse_certificates(fleet.node().chain_pem)->front().get());
  EXPECT_NE(verify_peer({}, bundle, domain, now_ms).error().detail.find("none was sent"), std::string::npos);
  EXPECT_NE(verify_peer({der + "x"}, bundle, domain, now_ms).error().detail.find("damaged"), std::string::npos);
  for (std::size_t cut = 0; cut < der.size(); cut += 7) {
    EXPECT_EQ(verify_peer({der.substr(0, cut)}, bundle, domain, now_ms).error().code, Code::denied);
  }
  EXPECT_NE(verify_peer(std::vector<std::string>(40, der), bundle, domain, now_ms).error().detail.find("8 KiB"),
            std::string::npos);
  // Any changed byte is refused: structure, names or signature.
  for (std::size_t at = 0; at < der.size(); ++at) {
    auto changed = der;
    changed[at] = static_cast<char>(changed[at] ^ 0x01);
    EXPECT_FALSE(verify_peer({changed}, bundle, domain, now_ms).ok()) << "byte " << at;
  }
}

TEST(Identity, LifeTimesAreThoseOfTheTable) {
  Fleet fleet(now_ms);
  EXPECT_EQ(*expires_unix_ms(fleet.node().chain_pem), now_ms + 90 * day_ms);
  EXPECT_EQ(*expires_unix_ms(fleet.hub().chain_pem), now_ms + 365 * day_ms);
  EXPECT_EQ(*expires_unix_ms(fleet.member(Peer::Role::invite).chain_pem), now_ms + 7 * day_ms);
  auto node = fleet.node();
  EXPECT_TRUE(verify_chain(node.chain_pem, node.bundle_pem, domain, now_ms - 3'500'000).ok()) << "backdating";
  EXPECT_FALSE(verify_chain(node.chain_pem, node.bundle_pem, domain, now_ms - 3'700'000).ok());
  EXPECT_FALSE(verify_chain(node.chain_pem, node.bundle_pem, domain, now_ms + 91 * day_ms).ok());
}

TEST(Identity, ARequestNeedsAProofAndNamesOnlyItsKey) {
  auto key = make_key();
  auto csr = *make_csr(key);
  EXPECT_EQ(*verify_csr(csr), *node_of_key(key));
  EXPECT_EQ(verify_csr("nonsense").error().code, Code::corrupt);
  // A byte of the base64 body changed: damage, or a signature that does not fit.
  for (std::size_t at = 60; at < csr.size() - 40; at += 11) {
    auto changed = csr;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    if (changed == csr) continue;
    EXPECT_FALSE(verify_csr(changed).ok()) << at;
  }
  Fleet fleet(now_ms);
  EXPECT_FALSE(issue_svid(fleet.root(), "nonsense", Peer::Role::node, now_ms).ok());
}

TEST(Identity, AnInviteFileComesBackAsItWas) {
  Fleet fleet(now_ms);
  auto invite = *make_invite(fleet.root(), "aurora", "hub.example:7443", now_ms);
  auto text = encode_invite(invite);
  auto read = decode_invite(text);
  ASSERT_TRUE(read.ok()) << read.error().detail;
  EXPECT_EQ(read->name, "aurora");
  EXPECT_EQ(read->hub_address, "hub.example:7443");
  EXPECT_EQ(read->identity.key_pem, invite.identity.key_pem);
  EXPECT_EQ(read->identity.chain_pem, invite.identity.chain_pem);
  EXPECT_EQ(read->identity.bundle_pem, invite.identity.bundle_pem);
  EXPECT_EQ(read->identity.trust_domain, domain);
  EXPECT_FALSE(decode_invite(text + "extra = 1\n").ok());
  for (std::size_t cut = 0; cut < text.size() - 4; cut += 13) EXPECT_FALSE(decode_invite(text.substr(0, cut)).ok());
  for (const char* name : {"", "a b", "..", "a/b", "a\"b"}) {
    EXPECT_EQ(make_invite(fleet.root(), name, "hub:1", now_ms).error().code, Code::out_of_range) << name;
  }
  for (const char* hub : {"", "hub", "hub:", "hub:70000", "h\"ub:1", ":1"}) {
    EXPECT_EQ(make_invite(fleet.root(), "a", hub, now_ms).error().code, Code::out_of_range) << hub;
  }
}

TEST(Identity, ATrustDomainHasTheCharactersOfSpiffe) {
  for (const char* bad : {"", "Fleet", "fleet example", "fleet/a", "fleet:1"}) {
    EXPECT_EQ(make_trust_root(bad, now_ms).error().code, Code::out_of_range) << bad;
  }
  auto longest = make_trust_root(std::string(255, 'a'), now_ms);
  ASSERT_TRUE(longest.ok());
}

class IdentityFiles : public testing::Test {
 protected:
  IdentityFiles() {
    char pattern[] = "/tmp/landfall-identity-XXXXXX";
    directory_ = ::mkdtemp(pattern);
  }
  ~IdentityFiles() override { fs::remove_all(directory_); }
  fs::path path(const std::string& name) const { return directory_ / name; }
  std::string reason(const std::string& name) const {
    auto read = read_secret_file(path(name));
    if (read) return "read";
    EXPECT_TRUE(read.error().detail.find(path(name).string()) != std::string::npos) << read.error().detail;
    return std::string(to_string(read.error().code)) + ": " + read.error().detail;
  }
  fs::path directory_;
};

TEST_F(IdentityFiles, ASecretIsForItsOwnerAlone) {
  ASSERT_TRUE(write_secret_file(path("keys/a"), "secret").ok());
  EXPECT_EQ(*read_secret_file(path("keys/a")), "secret");
  struct stat status {};
  ASSERT_EQ(::stat(path("keys/a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ASSERT_EQ(::stat(path("keys").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  ASSERT_TRUE(write_secret_file(path("keys/a"), "newer").ok());
  EXPECT_EQ(*read_secret_file(path("keys/a")), "newer");
  EXPECT_EQ(std::distance(fs::directory_iterator(path("keys")), {}), 1) << "a temporary file stayed";
}

TEST_F(IdentityFiles, RefusesASecretThatOthersCouldTouch) {
  ASSERT_TRUE(write_secret_file(path("a"), "secret").ok());
  EXPECT_NE(reason("none").find("no such file"), std::string::npos);
  for (mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601}) {
    ::chmod(path("a").c_str(), mode);
    EXPECT_NE(reason("a").find("chmod 600"), std::string::npos) << std::oct << mode;
  }
  ::chmod(path("a").c_str(), 0600);
  fs::create_symlink(path("a"), path("link"));
  EXPECT_NE(reason("link").find("symbolic link"), std::string::npos);
  fs::create_directory(path("folder"));
  ::chmod(path("folder").c_str(), 0700);
  EXPECT_NE(reason("folder").find("not a regular file"), std::string::npos);
  ::chmod(directory_.c_str(), 0777);
  EXPECT_NE(reason("a").find("chmod 700"), std::string::npos);
  ::chmod(directory_.c_str(), 0700);
  EXPECT_EQ(reason("a"), "read");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path("a").c_str(), 12345, 12345), 0);
    EXPECT_NE(reason("a").find("belongs to user 12345"), std::string::npos);
  }
}

TEST_F(IdentityFiles, AnIdentityAndARootComeBackAsTheyWere) {
  Fleet fleet(now_ms);
  auto node = fleet.node();
  EXPECT_EQ(load_identity(path("node")).error().code, Code::not_found);
  ASSERT_TRUE(save_identity(path("node"), node).ok());
  auto loaded = load_identity(path("node"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().detail;
  EXPECT_EQ(loaded->key_pem, node.key_pem);
  EXPECT_EQ(loaded->chain_pem, node.chain_pem);
  EXPECT_EQ(loaded->trust_domain, node.trust_domain);

  ASSERT_TRUE(write_secret_file(path("node/key.pem"), make_key()).ok());
  EXPECT_EQ(load_identity(path("node")).error().code, Code::denied);
  ASSERT_TRUE(write_secret_file(path("node/key.pem"), "nonsense").ok());
  EXPECT_EQ(load_identity(path("node")).error().code, Code::corrupt);

  ASSERT_TRUE(save_trust_root(path("root"), fleet.root()).ok());
  auto root = load_trust_root(path("root"));
  ASSERT_TRUE(root.ok()) << root.error().detail;
  EXPECT_TRUE(issue_svid(*root, *make_csr(make_key()), Peer::Role::node, now_ms).ok());
}

}  // namespace
}  // namespace landfall
