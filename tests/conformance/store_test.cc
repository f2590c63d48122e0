#include "eventlog/rocks_store.h"
#include "tests/conformance/store_suite.h"
#include "tests/conformance/temp_dir.h"
#include "tests/conformance/test_loop.h"

namespace landfall {
namespace {

class RocksMachine {
 public:
  RocksMachine() { open(); }
  Store& store() { return *store_; }
  void run_until(const std::function<bool()>& reached) { loop_.run_until(reached); }
  void reopen() {
    store_.reset();
    open();
  }
  // kill -9 as far as one process can play it: what is in the files at this moment is what the next open finds.
  void crash() {
    ++generation_;
    std::filesystem::copy(dir_.path() / std::to_string(generation_ - 1), dir_.path() / std::to_string(generation_),
                          std::filesystem::copy_options::recursive);
    store_.reset();
    open();
  }

 private:
  void open() {
    auto at = dir_.path() / std::to_string(generation_);
    Result<std::unique_ptr<Store>> opened =
        open_rocks_store(loop_, {.directory = at / "log", .anchor = at / "anchor", .on_fatal = {}});
    if (!opened) std::fprintf(stderr, "%s\n", opened.error().detail.c_str());
    store_ = std::move(*opened);
  }

  test::TempDir dir_;
  test::TestLoop loop_;
  int generation_ = 0;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Rocks, StoreSuite, RocksMachine);

}  // namespace
}  // namespace landfall
