#include "stores/sql/names.hpp"

namespace tidemill::sql_store {

namespace {

constexpr std::size_t index(NameTable table) { return static_cast<std::size_t>(table); }

}  // namespace

std::optional<std::int64_t> Names::number(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? std::nullopt : std::optional{found->second};
}

const std::string* Names::name(std::int64_t number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : found->second;
}

void Names::add(std::string_view name, std::int64_t number) {
  const auto [entry, added] = by_name_.emplace(name, number);
  if (added) by_number_.emplace(number, &entry->first);
}

void Names::add_all(const Names& other) {
  for (const auto& [name, number] : other.by_name_) add(name, number);
}

void Names::clear() {
  by_number_.clear();
  by_name_.clear();
}

std::optional<std::int64_t> NameCache::number(NameTable table, std::string_view name) const {
  const std::lock_guard lock{mutex_};
  return names_[index(table)].number(name);
}

const std::string* NameCache::name(NameTable table, std::int64_t number) const {
  const std::lock_guard lock{mutex_};
  return names_[index(table)].name(number);
}

void NameCache::add(NameTable table, std::string_view name, std::int64_t number) {
  const std::lock_guard lock{mutex_};
  names_[index(table)].add(name, number);
}

void NameCache::add_all(NameTable table, const Names& names) {
  const std::lock_guard lock{mutex_};
  names_[index(table)].add_all(names);
}

}  // namespace tidemill::sql_store
