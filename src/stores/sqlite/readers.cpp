#include "stores/sqlite/readers.hpp"

#include "stores/sqlite/lane.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr std::size_t readers_max = 4;

}  // namespace

std::unique_ptr<Readers::Reader> Readers::take() {
  {
    std::unique_lock lock{mutex_};
    returned_.wait(lock, [&] { return lent_ < readers_max; });
    ++lent_;
    if (!idle_.empty()) {
      auto reader = std::move(idle_.back());
      idle_.pop_back();
      return reader;
    }
  }
  try {
    auto db = open_connection(path_, {.busy_timeout = busy_timeout_});
    db->execute("PRAGMA query_only = on; PRAGMA main.cache_size = -4096");
    Scope scope{*db, cache_, true};
    return std::make_unique<Reader>(std::move(db), std::move(scope));
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void Readers::give_back(std::unique_ptr<Reader> reader) noexcept {
  const bool sound = reader && !reader->db->in_transaction();
  const std::lock_guard lock{mutex_};
  --lent_;
  if (sound && idle_.size() < readers_max) idle_.push_back(std::move(reader));
  returned_.notify_one();
}

void Readers::Borrowed::begin() {
  reader->db->give_up_at(std::chrono::steady_clock::now() + readers.busy_timeout_);
  reader->db->execute("BEGIN");
}

void Readers::fail(const sqlite::Failure& failure) const { throw to_error(failure, path_); }

}  // namespace tidemill::sqlite_store
