#include "schemas/zstd_frame.h"

#include <zstd.h>

namespace landfall {
namespace {

// Contexts and the scratch buffer hold about 1 MB together, so each thread makes them once, when it first needs them.
struct Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::string scratch;
  Compressor() { LANDFALL_CHECK(context != nullptr); }
  ~Compressor() { ZSTD_freeCCtx(context); }
};
struct Decompressor {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Decompressor() { LANDFALL_CHECK(context != nullptr); }
  ~Decompressor() { ZSTD_freeDCtx(context); }
};

Error corrupt(std::string what) { return {Code::corrupt, "chunk: zstd " + std::move(what)}; }

}  // namespace

std::string_view zstd_compress(std::string_view bytes, int level) {
  if (bytes.size() < 2) return {};
  thread_local Compressor compressor;
  if (compressor.scratch.size() < bytes.size()) compressor.scratch.resize(bytes.size());
  const std::size_t size = ZSTD_compressCCtx(compressor.context, compressor.scratch.data(), bytes.size() - 1,
                                             bytes.data(), bytes.size(), level);
  if (ZSTD_isError(size)) return {};
  return {compressor.scratch.data(), size};
}

Status zstd_expand(std::string_view frame, char* to, std::size_t size) {
  if (ZSTD_getFrameContentSize(frame.data(), frame.size()) != size) return corrupt("states another length");
  thread_local Decompressor decompressor;
  const std::size_t made = ZSTD_decompressDCtx(decompressor.context, to, size, frame.data(), frame.size());
  if (ZSTD_isError(made)) return corrupt(ZSTD_getErrorName(made));
  if (made != size) return corrupt("yields another length");
  return ok();
}

}  // namespace landfall
