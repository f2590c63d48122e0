#include "eventlog/chain.h"

#include <openssl/evp.h>

#include <cstring>

#include "schemas/event.h"

namespace landfall {
namespace {

constexpr unsigned char row_tag = 0x00;
constexpr unsigned char start_tag = 0x02;
constexpr unsigned char void_tag = 0x03;

void put_u32(std::string& out, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

constexpr std::size_t kind_at = 8;
bool is_void(std::string_view row) { return row.size() > kind_at && static_cast<Kind>(row[kind_at]) == Kind::voided; }
// Empty inside a range of voids, or in a row that does not decode: then there is no chunk.
std::string_view mask_of(std::string_view row) {
  const Result<Event> event = decode_row(row);
  return event ? event->chain : std::string_view();
}

}  // namespace

VoidEdges void_edges(std::string_view rows) {
  RowReader reader(rows);
  std::string_view row = reader.next(), last;
  VoidEdges edges{is_void(row), false};
  for (; !row.empty(); row = reader.next()) last = row;
  edges.after = is_void(last) && mask_of(last).empty();
  return edges;
}

Digest chain_start(const RunStream& of) {
  std::string text(1, static_cast<char>(start_tag));
  text += "landfall";
  text.append(reinterpret_cast<const char*>(of.run.node.bytes.data()), of.run.node.bytes.size());
  put_u32(text, of.run.counter);
  put_u32(text, of.run.nonce);
  text.push_back(static_cast<char>(of.stream));
  Digest digest;
  unsigned length = digest.size();
  LANDFALL_CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  return digest;
}

ChainHasher::ChainHasher() : context_(EVP_MD_CTX_new()), digest_(EVP_MD_fetch(nullptr, "SHA256", nullptr)) {
  LANDFALL_CHECK(context_ != nullptr && digest_ != nullptr);
}

ChainHasher::~ChainHasher() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
  EVP_MD_free(const_cast<EVP_MD*>(static_cast<const EVP_MD*>(digest_)));
}

void ChainHasher::hash(std::uint8_t tag, Digest& chain, std::initializer_list<std::string_view> parts) {
  auto* context = static_cast<EVP_MD_CTX*>(context_);
  unsigned char head[1 + sizeof(Digest)];
  head[0] = tag;
  std::memcpy(head + 1, chain.data(), chain.size());
  bool done = EVP_DigestInit_ex2(context, static_cast<const EVP_MD*>(digest_), nullptr) == 1 &&
              EVP_DigestUpdate(context, head, sizeof head) == 1;
  for (const std::string_view part : parts) done = done && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  done = done && EVP_DigestFinal_ex(context, chain.data(), nullptr) == 1;
  LANDFALL_CHECK(done);
}

void ChainHasher::extend(Digest& chain, std::string_view row) {
  if (!is_void(row)) return hash(row_tag, chain, {row});
  const std::string_view mask = mask_of(row);
  if (mask.empty()) return hash(void_tag, chain, {row});
  static constexpr char zeros[sizeof(Digest)] = {};
  const auto at = static_cast<std::size_t>(mask.data() - row.data());
  hash(void_tag, chain, {row.substr(0, at), {zeros, sizeof zeros}, row.substr(at + mask.size())});
  for (std::size_t i = 0; i < chain.size(); ++i) chain[i] ^= static_cast<std::uint8_t>(mask[i]);
}

Digest ChainHasher::chain_of_void(const Digest& before, std::string_view row, const Digest& wanted) {
  Digest chain = before;
  extend(chain, row);
  for (std::size_t i = 0; i < chain.size(); ++i) chain[i] ^= wanted[i];
  return chain;
}

void ChainHasher::extend_rows(Digest& chain, std::string_view rows) {
  RowReader reader(rows);
  for (std::string_view row = reader.next(); !row.empty(); row = reader.next()) extend(chain, row);
}

Result<DecodedChunk> verify_chunk(std::string_view chunk, ChainHasher& hasher) {
  Result<DecodedChunk> decoded = decode_chunk(chunk);
  if (!decoded) return decoded;
  const ChunkHeader& header = decoded->header;
  Digest chain = header.chain_before;
  hasher.extend_rows(chain, decoded->rows);
  if (chain != header.chain_after) {
    return Error{Code::corrupt,
                 to_string(Dot{header.of.run, header.of.stream, header.last}) + ": chain does not come out"};
  }
  if (header.first == 1 && header.chain_before != chain_start(header.of)) {
    return Error{Code::corrupt,
                 to_string(Dot{header.of.run, header.of.stream, 1}) + ": chain does not begin at the run's start"};
  }
  return decoded;
}

Result<std::string> cut_chunk(std::string_view chunk, std::uint64_t first, std::uint64_t last, ChainHasher& hasher) {
  Result<DecodedChunk> decoded = verify_chunk(chunk, hasher);
  if (!decoded) return std::move(decoded).error();
  ChunkHeader header = decoded->header;
  if (first > last || first < header.first || last > header.last) {
    return Error{Code::out_of_range, "cut " + std::to_string(first) + ".." + std::to_string(last) +
                                         " is not inside chunk " + std::to_string(header.first) + ".." +
                                         std::to_string(header.last)};
  }
  const char* begin = decoded->rows.data();
  RowReader reader(decoded->rows);
  Digest chain = header.chain_before;
  std::size_t from = 0, to = 0;
  header.time_min = {~0ull};
  header.time_max = {};
  for (std::uint64_t seq = header.first; seq <= last; ++seq) {
    std::string_view row = reader.next();
    if (seq >= first) {
      if (seq == first) header.chain_before = chain, from = to;
      Result<Event> event = decode_row(row);
      if (!event) return std::move(event).error();
      header.time_min = std::min(header.time_min, event->time);
      header.time_max = std::max(header.time_max, event->time);
    }
    hasher.extend(chain, row);
    to = static_cast<std::size_t>(row.data() + row.size() - begin);
  }
  header.first = first;
  header.last = last;
  header.chain_after = chain;
  return encode_chunk(header, std::string_view(decoded->rows).substr(from, to - from));
}

}  // namespace landfall
