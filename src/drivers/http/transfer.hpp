#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <curl/curl.h>

#include "drivers/http/address_guard.hpp"
#include "drivers/http/client.hpp"
#include "drivers/http/target.hpp"

namespace tidemill::http {

// All handles are void* to C, so each has a clean-up of its own.
struct EasyCleanUp {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
struct ListCleanUp {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyCleanUp>;

struct Host;

/// One call of a client, from its queue to its answer. All members are used on the client's thread only.
class Transfer {
 public:
  Transfer(std::uint64_t number, Call wanted, Client::Done told)
      : id(number), call(std::move(wanted)), done(std::move(told)) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Why it can't be sent as it is; empty when it can. Sets `target`.
  std::string check();

  /// Makes `handle` ready for the call. `settled` is called once, when the host's address is known or
  /// isn't needed; it must not use curl.
  void begin(Easy handle, const AddressGuard& guard, std::chrono::milliseconds connect_timeout,
             std::function<void()> settled);
  /// Takes the handle back, for another call.
  Easy end();
  /// What came of it. REQUIRES: the handle is still there.
  CallResult result(CURLcode code);

  const std::uint64_t id;
  Call call;
  Client::Done done;
  Target target = {};
  Host* host = nullptr;  ///< Whose queue or connections it is in.
  Easy easy = {};
  std::list<Transfer*>::iterator place = {};  ///< In the queue of its host, while `easy` is empty.
  std::optional<std::stop_callback<std::function<void()>>> on_stop = {};

 private:
  void set_method();
  void set_headers();
  void settle();
  std::string error_of(CURLcode code) const;
  std::string timeout_text() const;

  static curl_socket_t open_socket(Transfer* self, curlsocktype purpose, curl_sockaddr* address) noexcept;
  static int connected(Transfer* self, char*, char*, int, int) noexcept;
  static std::size_t take_header(const char* data, std::size_t, std::size_t size, Transfer* self) noexcept;
  static std::size_t take_body(const char* data, std::size_t, std::size_t size, Transfer* self) noexcept;

  const AddressGuard* guard_ = nullptr;
  std::function<void()> settled_ = {};
  std::chrono::milliseconds connect_timeout_{};
  std::unique_ptr<curl_slist, ListCleanUp> headers_ = {};
  std::array<char, CURL_ERROR_SIZE> error_ = {};
  CallResult result_ = {};
  std::string refused_ = {};      ///< An address that was.
  std::size_t header_bytes_ = 0;  ///< Of the answer.
  bool opened_ = false;           ///< An address was tried.
  bool sent_ = false;             ///< A connection is there.
  bool headers_too_long_ = false;
};

}  // namespace tidemill::http
