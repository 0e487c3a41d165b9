#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <openssl/bio.h>
#include <openssl/types.h>

#include "drivers/redis/options.hpp"

namespace tidemill::redis {

/// What all TLS connections of a client share: authorities, and a certificate of its own.
///
/// Thread safety: all members may be called from any thread.
class TlsContext {
 public:
  /// Reads the files. Throws Failure that names the one that can't be read.
  explicit TlsContext(const Options& options);

 private:
  friend class TlsStream;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  std::unique_ptr<BIO_METHOD, void (*)(BIO_METHOD*)> method_;
  bool verify_;
};

/// TLS on a connected, non-blocking socket, which must outlive it.
///
/// Thread safety: none; one thread at a time.
class TlsStream {
 public:
  /// The server's certificate must be for `host`, a name or an address.
  TlsStream(const TlsContext& context, int fd, const std::string& host);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  /// One step of the handshake. True when it is done; else wait for `reading_needs`. Throws Failure.
  bool shake_hands();
  /// How many bytes came or went; zero: not now. Throw Failure when the connection has ended.
  std::size_t read(std::span<char> into);
  std::size_t write(std::span<const char> bytes);

  /// The poll events with which it is worth going on.
  short reading_needs() const noexcept { return reading_needs_; }
  short writing_needs() const noexcept { return writing_needs_; }

 private:
  /// Zero, and notes in `needs` what OpenSSL waits for. Throws Failure for anything else.
  std::size_t not_now(int result, short& needs) const;

  SSL* ssl_ = nullptr;
  short reading_needs_;
  short writing_needs_;
};

}  // namespace tidemill::redis
