#pragma once

#include <filesystem>
#include <string>

namespace landfall {

// A real Kafka broker, started by tools/dev/kafka/broker.sh. It ends with this process, however that ends.
class Broker {
 public:
  // `extra` goes into its server.properties.
  explicit Broker(const std::string& extra = "");
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  const std::string& bootstrap() const { return bootstrap_; }
  void kill9();
  void restart();  // on the same data and port

  // The one that the tests share, each with topics of its own prefix.
  static Broker& shared();

 private:
  std::filesystem::path dir_;
  std::string bootstrap_;
};

// A folder of its own for one test, gone with it.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace landfall
