#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edgeruntime/identity.h"
#include "edgeruntime/openssl_values.h"

namespace landfall {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t file_bytes_max = 256 << 10;

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "; make room there, or choose another folder";
    case EACCES:
    case EPERM: return "; run this as the user who owns it, or chown it";
    case EROFS: return "; mount it for writing, or choose another folder";
    case EISDIR: return "; name a file";
    default: return "";
  }
}

Error disk_error(const fs::path& path, const char* what) {
  const int error = errno;
  return {Code::disk, path.string() + ": " + what + ": " + strerror(error) + remedy(error)};
}

Status sync_directory(const fs::path& directory) {
  File opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.is_open() || ::fsync(opened.get()) != 0) return disk_error(directory, "sync");
  return ok();
}

Status make_directory(const fs::path& directory) {
  std::error_code failed;
  if (fs::exists(directory, failed)) return ok();
  auto parent = directory.has_parent_path() ? directory.parent_path() : fs::path(".");
  if (!fs::exists(parent, failed)) LANDFALL_TRY(make_directory(parent));
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return disk_error(directory, "make the folder");
  return sync_directory(parent);
}

Status write_new_file(const fs::path& path, std::string_view content, mode_t mode) {
  File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file.is_open() || ::fchmod(file.get(), mode) != 0) return disk_error(path, "make");
  while (!content.empty()) {
    auto written = ::write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return disk_error(path, "write");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(file.get()) == 0 ? ok() : disk_error(path, "sync");
}

Status write_file(const fs::path& path, std::string_view content, mode_t mode) {
  auto directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  LANDFALL_TRY(make_directory(directory));
  auto temporary = path;
  temporary += ".new";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return disk_error(temporary, "remove");
  auto written = write_new_file(temporary, content, mode);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = disk_error(path, "rename into place");
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_directory(directory);
}

Result<std::string> read_all(const File& file, const fs::path& path) {
  std::string content;
  char buffer[8192];
  for (;;) {
    auto got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return disk_error(path, "read");
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > file_bytes_max) return Error{Code::disk, path.string() + ": longer than 256 KiB"};
  }
}

Error missing(const fs::path& path) { return {Code::not_found, path.string() + ": no such file"}; }

Status check_secret(const fs::path& path, const struct stat& file) {
  auto refuse = [&path](const std::string& why, const std::string& remedy) {
    return Error{Code::denied, path.string() + ": " + why + "; " + remedy};
  };
  if (!S_ISREG(file.st_mode)) return refuse("not a regular file", "put the key itself there");
  if (file.st_uid != ::geteuid()) {
    return refuse("belongs to user " + std::to_string(file.st_uid) + ", not to " + std::to_string(::geteuid()),
                  "run as its owner, or chown it");
  }
  if ((file.st_mode & 077) != 0) return refuse("others may read or write it", "chmod 600 " + path.string());
  auto directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  struct stat folder {};
  if (::stat(directory.c_str(), &folder) != 0) return disk_error(directory, "stat");
  if ((folder.st_mode & 022) != 0) {
    return refuse("others may write to its folder", "chmod 700 " + directory.string());
  }
  if (folder.st_uid != ::geteuid() && folder.st_uid != 0) {
    return refuse("its folder belongs to user " + std::to_string(folder.st_uid), "chown the folder");
  }
  return ok();
}

}  // namespace

Status write_secret_file(const fs::path& path, std::string_view content) { return write_file(path, content, 0600); }
Status write_public_file(const fs::path& path, std::string_view content) { return write_file(path, content, 0644); }

Result<std::string> read_secret_file(const fs::path& path) {
  File file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) {
    if (errno == ENOENT) return missing(path);
    if (errno == ELOOP) return Error{Code::denied, path.string() + ": a symbolic link; put the key itself there"};
    return disk_error(path, "open");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return disk_error(path, "stat");
  LANDFALL_TRY(check_secret(path, status));
  return read_all(file, path);
}

Result<std::string> read_public_file(const fs::path& path) {
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return errno == ENOENT ? missing(path) : disk_error(path, "open");
  return read_all(file, path);
}

Status save_identity(const fs::path& directory, const Identity& identity) {
  LANDFALL_TRY(write_public_file(directory / "trust-domain", identity.trust_domain + "\n"));
  LANDFALL_TRY(write_public_file(directory / "bundle.pem", identity.bundle_pem));
  LANDFALL_TRY(write_public_file(directory / "chain.pem", identity.chain_pem));
  return write_secret_file(directory / "key.pem", identity.key_pem);
}

Result<Identity> load_identity(const fs::path& directory) {
  Identity identity;
  auto key = read_secret_file(directory / "key.pem");
  if (!key) return std::move(key).error();
  auto chain = read_public_file(directory / "chain.pem");
  if (!chain) return std::move(chain).error();
  auto bundle = read_public_file(directory / "bundle.pem");
  if (!bundle) return std::move(bundle).error();
  auto trust_domain = read_public_file(directory / "trust-domain");
  if (!trust_domain) return std::move(trust_domain).error();
  while (!trust_domain->empty() && trust_domain->back() == '\n') trust_domain->pop_back();

  auto parsed_key = parse_key(*key);
  if (!parsed_key) return std::move(parsed_key).error().in((directory / "key.pem").string());
  auto certificates = parse_certificates(*chain);
  if (!certificates) return std::move(certificates).error().in((directory / "chain.pem").string());
  auto roots = parse_certificates(*bundle);
  if (!roots) return std::move(roots).error().in((directory / "bundle.pem").string());
  if (X509_check_private_key(certificates->front().get(), parsed_key->get()) != 1) {
    openssl_reason();
    return Error{Code::denied, directory.string() +
                                   ": key.pem and chain.pem do not belong together; restore both "
                                   "from one backup, or have the node invited again"};
  }
  return Identity{*std::move(trust_domain), *std::move(key), *std::move(chain), *std::move(bundle)};
}

Status save_trust_root(const fs::path& directory, const TrustRoot& root) {
  LANDFALL_TRY(write_public_file(directory / "trust-domain", root.trust_domain + "\n"));
  LANDFALL_TRY(write_public_file(directory / "root.pem", root.cert_pem));
  return write_secret_file(directory / "root-key.pem", root.key_pem);
}

Result<TrustRoot> load_trust_root(const fs::path& directory) {
  auto key = read_secret_file(directory / "root-key.pem");
  if (!key) return std::move(key).error();
  auto certificate = read_public_file(directory / "root.pem");
  if (!certificate) return std::move(certificate).error();
  auto trust_domain = read_public_file(directory / "trust-domain");
  if (!trust_domain) return std::move(trust_domain).error();
  while (!trust_domain->empty() && trust_domain->back() == '\n') trust_domain->pop_back();
  return TrustRoot{*std::move(trust_domain), *std::move(key), *std::move(certificate)};
}

}  // namespace landfall
