#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "drivers/sqlite/sqlite.hpp"

/// Names of queues and kinds are stored once, and everywhere else by number.
namespace tidemill::sqlite_store {

/// Pairs of name and number. Neither ever changes or goes away, so what is known stays true.
class Names {
 public:
  std::optional<std::int64_t> number(std::string_view name) const;
  /// Null when unknown; valid as long as this object.
  const std::string* name(std::int64_t number) const;
  void add(std::string_view name, std::int64_t number);
  void add_all(const Names& other);
  void clear();
  bool empty() const noexcept { return by_number_.empty(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> by_name_;
  std::unordered_map<std::int64_t, const std::string*> by_number_;
};

enum class NameTable : std::uint8_t { queue, kind };

/// The committed names that a store object has met.
///
/// Thread safety: all members may be called from any thread.
class NameCache {
 public:
  std::optional<std::int64_t> number(NameTable table, std::string_view name) const;
  const std::string* name(NameTable table, std::int64_t number) const;
  void add(NameTable table, std::string_view name, std::int64_t number);
  void add_all(NameTable table, const Names& names);

 private:
  mutable std::mutex mutex_;
  Names names_[2];  // Guarded by mutex_.
};

/// Names as one connection sees them.
class Scope {
 public:
  /// What is looked up is put into the cache when everything that `db` sees is committed, or will be told
  /// apart: `shares` is false on a caller's own connection, whose transaction may have made names and may yet
  /// fail.
  Scope(sqlite::Connection& connection, NameCache& cache, bool shares)
      : db(connection), cache_(cache), shares_(shares) {}

  /// None when the queue was never seen.
  std::optional<std::int64_t> find_queue(std::string_view name) { return find(NameTable::queue, name); }
  std::optional<std::int64_t> find_kind(std::string_view name) { return find(NameTable::kind, name); }
  const std::string& queue_name(std::int64_t number) { return name(NameTable::queue, number); }
  const std::string& kind_name(std::int64_t number) { return name(NameTable::kind, number); }

  sqlite::Connection& db;

 protected:
  /// The number of a name, new if need be; then it belongs to this transaction until `keep_names`.
  std::int64_t intern(NameTable table, std::string_view name);
  void keep_names();
  void drop_names();

 private:
  std::optional<std::int64_t> find(NameTable table, std::string_view name);
  const std::string& name(NameTable table, std::int64_t number);

  /// Most batches have one queue and one kind.
  struct Last {
    std::string name = {};
    std::int64_t number = 0;
  };

  NameCache& cache_;
  bool shares_;
  Names own_[2];  // Made or met in this transaction, and not committed for all that we know.
  Last last_[2];
};

}  // namespace tidemill::sqlite_store
