#include "drivers/redis/tls.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>

#include <fmt/format.h>

#include "drivers/redis/failure.hpp"

namespace tidemill::redis {

namespace {

int fd_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// OpenSSL's own way to write to a socket would raise SIGPIPE in the user's program.
int write_to_socket(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::send(fd_of(bio), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && would_block()) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int read_from_socket(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::recv(fd_of(bio), bytes, static_cast<std::size_t>(size), 0);
  if (count < 0 && would_block()) BIO_set_retry_read(bio);
  return static_cast<int>(count);
}

long control_socket(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

std::string openssl_says() {
  std::array<char, 256> text{};
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "the connection has ended";
  const char* const reason = ERR_reason_error_string(code);
  if (reason != nullptr) return reason;
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

bool is_address(const std::string& host) {
  in6_addr ignored{};
  return inet_pton(AF_INET, host.c_str(), &ignored) == 1 || inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

void load_certificate(SSL_CTX* context, const Options& options) {
  const std::string& certificate = options.tls_certificate;
  const std::string& key = options.tls_key.empty() ? certificate : options.tls_key;
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    throw Failure{
        fmt::format("tls_cert: no certificate can be read from {}: {}", certificate, openssl_says())};
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    throw Failure{
        fmt::format("tls_key: no key for {} can be read from {}: {}", certificate, key, openssl_says())};
}

}  // namespace

TlsContext::TlsContext(const Options& options)
    : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free),
      method_(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "socket"),
              BIO_meth_free),
      verify_(options.tls_verify) {
  SSL_CTX* const context = context_.get();
  if (context == nullptr || method_ == nullptr) throw Failure{fmt::format("TLS: {}", openssl_says())};
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // A server that just closes, as Redis does, ends the connection all the same.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(context, verify_ ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.tls_ca.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_locations(context, options.tls_ca.c_str(), nullptr) != 1) {
    throw Failure{
        fmt::format("tls_ca: no certificate can be read from {}: {}", options.tls_ca, openssl_says())};
  }
  if (!options.tls_certificate.empty()) load_certificate(context, options);
  BIO_meth_set_write(method_.get(), write_to_socket);
  BIO_meth_set_read(method_.get(), read_from_socket);
  BIO_meth_set_ctrl(method_.get(), control_socket);
}

TlsStream::TlsStream(const TlsContext& context, int fd, const std::string& host)
    : ssl_(SSL_new(context.context_.get())), reading_needs_(POLLIN), writing_needs_(POLLOUT) {
  BIO* const bio = BIO_new(context.method_.get());
  if (ssl_ == nullptr || bio == nullptr) {
    SSL_free(ssl_);
    BIO_free(bio);
    throw Failure{fmt::format("TLS: {}", openssl_says())};
  }
  // OpenSSL keeps one pointer for us, and a descriptor is all that we need.
  BIO_set_data(bio,
               reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));  // NOLINT(performance-no-int-to-ptr)
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_connect_state(ssl_);
  if (is_address(host)) {
    if (context.verify_) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str());
    return;
  }
  SSL_set_tlsext_host_name(ssl_, host.c_str());
  if (context.verify_) SSL_set1_host(ssl_, host.c_str());
}

TlsStream::~TlsStream() {
  SSL_shutdown(ssl_);
  ERR_clear_error();
  SSL_free(ssl_);
}

bool TlsStream::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    reading_needs_ = POLLIN;
    return true;
  }
  const long verified = SSL_get_verify_result(ssl_);
  if (verified != X509_V_OK && SSL_get_error(ssl_, result) == SSL_ERROR_SSL) {
    ERR_clear_error();
    throw Refused{fmt::format("TLS: the server's certificate: {}", X509_verify_cert_error_string(verified))};
  }
  not_now(result, reading_needs_);
  return false;
}

std::size_t TlsStream::read(std::span<char> into) {
  ERR_clear_error();
  const int result =
      SSL_read(ssl_, into.data(), static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX)));
  if (result > 0) reading_needs_ = POLLIN;
  return result > 0 ? static_cast<std::size_t>(result) : not_now(result, reading_needs_);
}

std::size_t TlsStream::write(std::span<const char> bytes) {
  ERR_clear_error();
  const int result =
      SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX)));
  if (result > 0) writing_needs_ = POLLOUT;
  return result > 0 ? static_cast<std::size_t>(result) : not_now(result, writing_needs_);
}

std::size_t TlsStream::not_now(int result, short& needs) const {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      needs = POLLIN;
      return 0;
    case SSL_ERROR_WANT_WRITE:
      needs = POLLOUT;
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      throw Failure{"the server has closed the connection"};
    default:
      throw Failure{fmt::format("TLS: {}", openssl_says())};
  }
}

}  // namespace tidemill::redis
