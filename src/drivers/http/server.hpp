#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "drivers/http/headers.hpp"

/// An HTTP/1.1 server that knows nothing of tasks. One thread moves the bytes of all connections; it calls
/// the handler, which answers when it can, from any thread.
namespace tidemill::http {

struct Request {
  std::string method = {};
  std::string path = {};   ///< As sent, up to the '?'.
  std::string query = {};  ///< As sent, after the '?'.
  Headers headers = {};    ///< Names in lower case.
  std::string body = {};   ///< Unpacked, if it came as gzip.
  std::string peer = {};   ///< The other side's address, without its port.

  /// The first one of that name (given in lower case); empty when there is none.
  std::string_view header(std::string_view name) const { return find_header(headers, name); }
  bool has_header(std::string_view name) const {
    return std::any_of(headers.begin(), headers.end(), [&](const auto& each) { return each.first == name; });
  }
};

/// The body of an answer that has no end yet: what is written goes out at once, in the order it was written.
///
/// Thread safety: all members may be called from any thread.
class Stream {
 public:
  /// A reader that lets more than so many bytes wait is too slow; one text alone may be longer.
  explicit Stream(std::size_t waiting_max = 1U << 20U) : waiting_max_(waiting_max) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Doesn't wait. False when the reader has gone or is too slow, which ends the stream.
  bool write(std::string_view bytes);
  /// Waits for the reader where `write` would find him too slow. False when the stream is over. Not for the
  /// server's thread.
  bool write_or_wait(std::string_view bytes);
  /// Nothing more will come; what has been written still goes out.
  void end();
  bool over() const;

 private:
  friend class Connection;
  const std::size_t waiting_max_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::string waiting_;             // Guarded by mutex_.
  bool over_ = false;               // Guarded by mutex_.
  std::function<void()> on_write_;  // Guarded by mutex_.
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers = {};
  std::string body = {};
  std::shared_ptr<Stream> stream = {};  ///< Its bytes come after those of `body`.
};

/// The right to answer one request, once, from any thread. Later calls do nothing; when it goes unanswered
/// the connection is closed. Copies share it.
class Answer {
 public:
  using Send = std::function<void(Response&&)>;
  using Watch = std::function<void(std::function<void()>)>;
  explicit Answer(Send send, Watch watch = {});
  void operator()(Response response) const;
  /// For answers that may take long: `gone` is called, on the server's thread, when the other side closes the
  /// connection before it has been answered. Must not block.
  void watch(std::function<void()> gone) const;

 private:
  struct Once;
  std::shared_ptr<Once> once_;
};

/// Called on the server's thread, so it must not block: what takes long answers later. Must not throw.
using Handler = std::function<void(Request&&, Answer)>;

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;            ///< Zero: any that is free.
  std::size_t body_max = 8U << 20U;  ///< Also of what a gzip body unpacks to.
  std::uint32_t headers_max = 16U << 10U;
  std::size_t connections_max = 20'000;            ///< More are closed at once.
  std::chrono::milliseconds idle_timeout{75'000};  ///< Between two requests of a connection.
  std::chrono::milliseconds headers_timeout{
      10'000};                                     ///< From a request's first byte to the end of its headers.
  std::chrono::milliseconds body_timeout{60'000};  ///< To read a body; to write an answer.
  /// Makes the answer to what is no request, or too large or slow a one: status and reason.
  std::function<Response(int status, std::string_view why)> refusal = {};
};

/// Thread safety: the members may be called from any thread, but not from the handler. An `Answer` must not
/// outlive the server.
class Server {
 public:
  /// Listens when this returns. Throws std::runtime_error that says what can't be listened on, and why.
  Server(ServerOptions options, Handler handler);
  /// As `stop` without patience.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const noexcept;
  std::size_t connections() const noexcept;

  /// Takes no new connections, closes idle ones, and waits for the answers that are due; what is not done
  /// after `patience` is cut. May be called twice.
  void stop(std::chrono::milliseconds patience);

 private:
  friend class Connection;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::http
