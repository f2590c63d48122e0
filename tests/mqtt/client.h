#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace landfall::test {

// A connection of our own making, as libraries hide what a broker answers: it tells a PUBACK from a closed connection.
class Connection {
 public:
  explicit Connection(std::uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    open_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool open() const { return open_; }
  void send(std::string_view bytes) {
    while (open_ && !bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        open_ = false;
      else
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // More bytes than there were, or false: closed by the other side, or nothing within ten seconds.
  bool receive() {
    pollfd wait{fd_, POLLIN, 0};
    if (!open_ && buffer.empty()) return false;
    if (::poll(&wait, 1, 10'000) != 1) return false;
    char bytes[4096];
    const auto n = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (n <= 0) return open_ = false;
    buffer.append(bytes, static_cast<std::size_t>(n));
    return true;
  }
  std::string buffer;

 private:
  int fd_;
  bool open_ = false;
};

enum class Version : char { v311 = 4, v5 = 5 };
enum PacketType : int {
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  suback = 9,
  disconnect = 14
};
using UserProperties = std::vector<std::pair<std::string, std::string>>;

inline std::string field(std::string_view text) {
  return std::string{static_cast<char>(text.size() >> 8), static_cast<char>(text.size())} + std::string(text);
}
inline std::string variable(std::size_t value) {
  std::string bytes;
  do {
    bytes += static_cast<char>((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>= 7;
  } while (value > 0);
  return bytes;
}
inline std::string packet(int first_byte, const std::string& body) {
  return std::string(1, static_cast<char>(first_byte)) + variable(body.size()) + body;
}

class MqttClient {
 public:
  MqttClient(std::uint16_t port, Version version, const std::string& id,
             const std::optional<std::pair<std::string, std::string>>& login = std::nullopt)
      : version_(version), connection_(port) {
    std::string body = field("MQTT") + static_cast<char>(version) + (login ? '\xc2' : '\x02');
    body += std::string("\0\x3c", 2);
    if (version == Version::v5) body += '\0';
    body += field(id);
    if (login) body += field(login->first) + field(login->second);
    connection_.send(packet(0x10, body));
    const auto first = answer().value_or(Packet{});
    connected_ = first.type == connack && first.body.size() > 1 && first.body[1] == 0;
  }
  bool connected() const { return connected_; }

  struct Packet {
    int type = 0, flags = 0;
    std::string body;
  };
  // The next packet; none once the connection is closed.
  std::optional<Packet> answer() {
    for (;;) {
      auto& in = connection_.buffer;
      std::size_t length = 0, at = 1;
      bool whole = false;
      for (int shift = 0; at < in.size() && !whole; shift += 7) {
        length |= static_cast<std::size_t>(in[at] & 0x7f) << shift;
        whole = (in[at++] & 0x80) == 0;
      }
      if (whole && in.size() >= at + length) {
        Packet packet{(in[0] >> 4) & 15, in[0] & 15, in.substr(at, length)};
        in.erase(0, at + length);
        return packet;
      }
      if (!connection_.receive()) return std::nullopt;
    }
  }

  struct Message {
    std::string topic, payload;
    int qos = 1;
    bool retain = false;
    UserProperties properties = {};
    std::string content_type = {};
    std::uint16_t mid = 1;
  };
  void send(const Message& m) {
    std::string body = field(m.topic);
    if (m.qos > 0) body += {static_cast<char>(m.mid >> 8), static_cast<char>(m.mid)};
    if (version_ == Version::v5) {
      std::string properties;
      if (!m.content_type.empty()) properties += '\x03' + field(m.content_type);
      for (const auto& [name, value] : m.properties) properties += '\x26' + field(name) + field(value);
      body += variable(properties.size()) + properties;
    }
    connection_.send(packet(0x30 | m.qos << 1 | (m.retain ? 1 : 0), body + m.payload));
  }
  // Sends and waits for the last acknowledgement of its QoS: true where it came and says success.
  bool publish_and_wait(const Message& m) {
    send(m);
    if (m.qos == 0) return true;
    auto first = answer();
    if (!first || first->type != (m.qos == 1 ? puback : pubrec)) return false;
    if (first->body.size() > 2 && static_cast<unsigned char>(first->body[2]) >= 0x80) return false;
    if (m.qos == 1) return true;
    connection_.send(packet(0x62, first->body.substr(0, 2)));
    auto last = answer();
    return last && last->type == pubcomp;
  }
  // The reason with which the broker answered, of MQTT 5: 0 is success, -1 that it closed the connection.
  int publish_and_read_reason(const Message& m) {
    send(m);
    const auto first = answer();
    if (!first || first->type != puback) return -1;
    return first->body.size() > 2 ? static_cast<unsigned char>(first->body[2]) : 0;
  }
  // The code of the SUBACK: the granted QoS, or 0x80 and above for a refusal; -1 where none came.
  int ask_for(const std::string& filter) {
    connection_.send(packet(
        0x82, std::string("\0\x07", 2) + (version_ == Version::v5 ? std::string(1, '\0') : "") + field(filter) + '\0'));
    for (auto got = answer(); got; got = answer()) {
      if (got->type == suback) return static_cast<unsigned char>(got->body.back());
    }
    return -1;
  }
  // The next message as "topic=payload", empty once the connection is closed or when none comes.
  std::string message() {
    for (auto got = answer(); got; got = answer()) {
      if (got->type != test::publish) continue;
      const std::size_t size = static_cast<unsigned char>(got->body[0]) << 8 | static_cast<unsigned char>(got->body[1]);
      std::size_t at = 2 + size;
      if ((got->flags & 6) != 0) {
        connection_.send(packet(0x40, got->body.substr(at, 2)));
        at += 2;
      }
      if (version_ == Version::v5) at += 1 + static_cast<unsigned char>(got->body[at]);
      return got->body.substr(2, size) + "=" + got->body.substr(at);
    }
    return {};
  }
  // The first message that a subscription brings.
  std::optional<Packet> subscribe(const std::string& filter) {
    connection_.send(packet(
        0x82, std::string("\0\x07", 2) + (version_ == Version::v5 ? std::string(1, '\0') : "") + field(filter) + '\0'));
    for (auto got = answer(); got; got = answer()) {
      if (got->type == test::publish) return got;
    }
    return std::nullopt;
  }

 private:
  Version version_;
  Connection connection_;
  bool connected_ = false;
};

inline UserProperties cloud_event(const std::string& source, const std::string& id) {
  return {{"specversion", "1.0"}, {"source", source}, {"id", id}, {"type", "t"}};
}

}  // namespace landfall::test
