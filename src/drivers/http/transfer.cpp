#include "drivers/http/transfer.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <sys/socket.h>

namespace tidemill::http {

namespace {

constexpr std::size_t header_bytes_max = 64U << 10U;

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  curl_easy_setopt(easy, option, value);
}

/// What a method and a header's name are made of.
bool is_token(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool breaks_header(std::string_view value) {
  return value.find_first_of(std::string_view{"\r\n\0", 3}) != std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

std::string seconds(std::chrono::milliseconds time) {
  return fmt::format("{} s", static_cast<double>(time.count()) / 1000);
}

}  // namespace

std::string Transfer::check() {
  if (!is_token(call.method)) return "the method is none; write it as in POST";
  for (const auto& [name, value] : call.headers) {
    if (!is_token(name)) return "the name of a header has a character that none may have";
    if (breaks_header(value)) return fmt::format("the header {} has a line break or a zero byte", name);
  }
  try {
    target = parse_target(call.url);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

void Transfer::begin(Easy handle, const AddressGuard& guard, std::chrono::milliseconds connect_timeout,
                     std::function<void()> settled) {
  easy = std::move(handle);
  guard_ = &guard;
  settled_ = std::move(settled);
  connect_timeout_ = connect_timeout;
  CURL* const to = easy.get();
  set(to, CURLOPT_PRIVATE, this);
  set(to, CURLOPT_ERRORBUFFER, error_.data());
  set(to, CURLOPT_NOSIGNAL, 1L);
  // Else the end of a call waits for a lookup that hangs, and all other calls with it.
  set(to, CURLOPT_QUICK_EXIT, 1L);

  set(to, CURLOPT_PROTOCOLS_STR, "http,https");
  set(to, CURLOPT_PROXY, "");
  set(to, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(to, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(to, CURLOPT_URL, call.url.c_str());
  set_method();
  set_headers();

  set(to, CURLOPT_TIMEOUT_MS, static_cast<long>(call.timeout.count()));
  set(to, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_timeout.count()));
  set(to, CURLOPT_OPENSOCKETFUNCTION, &Transfer::open_socket);
  set(to, CURLOPT_OPENSOCKETDATA, this);
  set(to, CURLOPT_PREREQFUNCTION, &Transfer::connected);
  set(to, CURLOPT_PREREQDATA, this);
  set(to, CURLOPT_HEADERFUNCTION, &Transfer::take_header);
  set(to, CURLOPT_HEADERDATA, this);
  set(to, CURLOPT_WRITEFUNCTION, &Transfer::take_body);
  set(to, CURLOPT_WRITEDATA, this);
}

void Transfer::set_method() {
  CURL* const to = easy.get();
  const bool with_body =
      !call.body.empty() || call.method == "POST" || call.method == "PUT" || call.method == "PATCH";
  if (with_body) {
    set(to, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size()));
    set(to, CURLOPT_POSTFIELDS, call.body.c_str());
  }
  if (call.method == "HEAD") set(to, CURLOPT_NOBODY, 1L);
  set(to, CURLOPT_CUSTOMREQUEST, call.method.c_str());
}

void Transfer::set_headers() {
  const auto add = [this](const std::string& line) {
    curl_slist* const longer = curl_slist_append(headers_.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc{};
    static_cast<void>(headers_.release());
    headers_.reset(longer);
  };
  // These two are curl's own unless they are taken away.
  bool typed = false;
  add("Expect:");
  for (const auto& [name, value] : call.headers) {
    typed = typed || lower_case(name) == "content-type";
    add(value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value));
  }
  if (!typed) add("Content-Type:");
  set(easy.get(), CURLOPT_HTTPHEADER, headers_.get());
}

Easy Transfer::end() {
  settle();
  curl_easy_reset(easy.get());
  return std::move(easy);
}

void Transfer::settle() {
  if (settled_) std::exchange(settled_, nullptr)();
}

// ---- What curl calls

curl_socket_t Transfer::open_socket(Transfer* self, curlsocktype, curl_sockaddr* address) noexcept {
  self->settle();
  if (!self->guard_->allows(&address->addr)) {
    self->refused_ = address_text(&address->addr);
    return CURL_SOCKET_BAD;
  }
  self->opened_ = true;
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int Transfer::connected(Transfer* self, char*, char*, int, int) noexcept {
  self->settle();
  self->sent_ = true;
  return CURL_PREREQFUNC_OK;
}

std::size_t Transfer::take_header(const char* data, std::size_t, std::size_t size, Transfer* self) noexcept {
  self->header_bytes_ += size;
  if (self->header_bytes_ > header_bytes_max) {
    self->headers_too_long_ = true;
    return 0;
  }
  CallResult& result = self->result_;
  const std::string_view line = trimmed({data, size});
  if (line.starts_with("HTTP/")) {
    // Of an answer after a 1xx, too.
    result.headers.clear();
    result.reason.clear();
    const std::size_t code = std::min(line.find(' '), line.size());
    const std::string_view rest = trimmed(line.substr(code));
    std::from_chars(rest.data(), rest.data() + rest.size(), result.status);
    if (const std::size_t blank = rest.find(' '); blank != std::string_view::npos)
      result.reason = trimmed(rest.substr(blank));
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    result.headers.emplace_back(lower_case(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
  }
  return size;
}

std::size_t Transfer::take_body(const char* data, std::size_t, std::size_t size, Transfer* self) noexcept {
  std::string& body = self->result_.body;
  const std::size_t room = self->call.response_bytes_max - body.size();
  body.append(data, std::min(size, room));
  if (size <= room) return size;
  self->result_.body_cut = true;
  return 0;  // Ends the transfer.
}

// ---- What came of it

CallResult Transfer::result(CURLcode code) {
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && result_.body_cut)) return std::move(result_);
  return {.error = error_of(code),
          .refused_address = code == CURLE_COULDNT_CONNECT && !opened_ && !refused_.empty(),
          .sent = sent_};
}

std::string Transfer::error_of(CURLcode code) const {
  const std::string where = fmt::format("{}:{}", target.host, target.port);
  const std::string_view detail = error_[0] != '\0' ? error_.data() : curl_easy_strerror(code);
  long number = 0;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return fmt::format("could not resolve the host {}", target.host);
    case CURLE_COULDNT_CONNECT:
      if (!opened_ && !refused_.empty())
        return fmt::format("the address {} of {} is not public, and refused", refused_, target.host);
      curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &number);
      return fmt::format("could not connect to {}{}{}", where, number != 0 ? ": " : "",
                         number != 0 ? std::generic_category().message(static_cast<int>(number)) : "");
    case CURLE_OPERATION_TIMEDOUT:
      return timeout_text();
    case CURLE_GOT_NOTHING:
      return fmt::format("{} closed the connection without an answer", where);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return fmt::format("the connection to {} broke {}: {}", where,
                         result_.status != 0 ? "in the middle of the answer" : "before the answer", detail);
    case CURLE_WRITE_ERROR:
    case CURLE_OUT_OF_MEMORY:  // What curl says of a line of 100 KiB.
      if (headers_too_long_ || code == CURLE_OUT_OF_MEMORY)
        return fmt::format("the headers of the answer are longer than {} KiB", header_bytes_max >> 10U);
      break;
    default:
      break;
  }
  return fmt::format("calling {} failed: {}", where, detail);
}

std::string Transfer::timeout_text() const {
  const std::string where = fmt::format("{}:{}", target.host, target.port);
  if (!sent_) {
    const bool of_call = call.timeout.count() > 0 && call.timeout < connect_timeout_;
    return fmt::format("timed out: no connection to {} within {}", where,
                       seconds(of_call ? call.timeout : connect_timeout_));
  }
  if (result_.status == 0)
    return fmt::format("timed out: no answer from {} within {}", where, seconds(call.timeout));
  return fmt::format("timed out: the answer from {} (status {}) had not ended within {}", where,
                     result_.status, seconds(call.timeout));
}

}  // namespace tidemill::http
