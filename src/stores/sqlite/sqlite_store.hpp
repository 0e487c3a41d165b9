#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

struct SqliteOptions {
  /// Of the file. It is made when it is not there; its directory must be.
  std::string path = {};
  /// True: what was acknowledged survives a power failure. False: it survives the death of the process, and a
  /// power failure may take the last of it.
  bool full_sync = true;
  /// How long to wait for another writer's lock.
  std::chrono::milliseconds busy_timeout{5000};
  /// Where the store's time comes from. Must outlive the store.
  const Clock* clock = &Clock::system();
  /// Creates what is missing and brings an older schema up to date. Off: an older schema is an error.
  bool migrate = true;
};

/// Opens the embedded store. The file may be the application's own: all that is made in it is named
/// tidemill_*. Any number of processes may have it open. Throws Error{invalid}, {unavailable} or {corrupt}.
std::unique_ptr<Store> open_sqlite(const SqliteOptions& options);

/// Brings the schema up to date, and says what was done. Throws as `open_sqlite` does.
Migration migrate_sqlite(const SqliteOptions& options);

}  // namespace tidemill
