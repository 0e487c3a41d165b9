#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include <tidemill/documents.hpp>
#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "config/config.hpp"
#include "engine/store_clock.hpp"

namespace tidemill::server {

/// A token that was made over the API.
struct StoredToken {
  /// A secret that has been replaced, and is good for a while yet.
  struct Former {
    std::string secret_sha256 = {};
    TimePoint until{};
  };
  config::Token token = {};  ///< Its name is that of its document: names are unique.
  std::optional<Former> former = {};
  TimePoint created_at{};
  std::optional<TimePoint> expires_at = {};
  std::string by = {};        ///< The token that made it.
  std::uint64_t version = 0;  ///< Zero: it is not in the store.
};

/// The tokens that are documents of the store. What requests are held against is in memory: a wrong secret
/// costs the store nothing. It is read again after each change made here, and every second, as other servers
/// make changes too. While the store fails, the tokens that were read last count.
///
/// Thread safety: all members may be called from any thread.
class StoredTokens {
 public:
  /// `store` and `log` must outlive it.
  StoredTokens(Store& store, const Log& log);
  /// As `close`.
  ~StoredTokens();
  StoredTokens(const StoredTokens&) = delete;
  StoredTokens& operator=(const StoredTokens&) = delete;

  /// Whether `find` will be asked. As soon as it is, the tokens are read before this returns, if the store
  /// answers.
  void follow(bool wanted);
  /// The token of a secret with this digest, unless one of them has expired. Never waits for the store.
  /// Throws Problem{503} as long as the tokens have never been read.
  std::shared_ptr<const StoredToken> find(const std::string& secret_sha256) const;

  /// Those that are in the store now, by name. None if it keeps no documents.
  std::vector<StoredToken> list();
  /// These three throw Problem{501} when the store keeps no documents.
  std::optional<StoredToken> get(const std::string& name);
  /// False when another version is stored; else it gets its new one, and counts here at once.
  bool put(StoredToken& token);
  /// False when there is none, or another version.
  bool erase(const StoredToken& token);

  /// As the store has it.
  TimePoint now() { return clock_.call().now; }
  /// Reads no more. May be called twice.
  void close();

 private:
  using ByDigest = std::unordered_map<std::string, std::shared_ptr<const StoredToken>>;

  Documents& documents() const;
  void refresh();
  void loop();
  /// Logs a trouble when it is another than before. No `why`: there is none.
  void tell(std::string_view what, std::string why);

  Documents* const documents_;
  const Log& log_;
  mutable engine::StoreClock clock_;
  std::mutex reading_;   ///< Held for all of a read, so that no older one takes a newer one's place.
  std::string trouble_;  // Guarded by reading_.
  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  std::shared_ptr<const ByDigest> known_;  // Guarded by mutex_.
  bool wanted_ = false;                    // Guarded by mutex_.
  bool closed_ = false;                    // Guarded by mutex_.
  std::thread thread_;                     // Last: it uses all the others.
};

}  // namespace tidemill::server
