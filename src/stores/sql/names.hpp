#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

/// Names of queues and kinds are stored once, and everywhere else by number.
namespace tidemill::sql_store {

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

}  // namespace tidemill::sql_store
