#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "drivers/sqlite/sqlite.hpp"
#include "stores/sqlite/names.hpp"

namespace tidemill::sqlite_store {

/// A few connections that only read, beside the writer: a slow page of a listing delays neither writes nor
/// other readers.
///
/// Thread safety: all members may be called from any thread.
class Readers {
 public:
  /// `cache` must outlive it.
  Readers(std::string path, std::chrono::milliseconds busy_timeout, NameCache& cache)
      : path_(std::move(path)), busy_timeout_(busy_timeout), cache_(cache) {}

  /// Calls `use(Scope&)` in one read transaction, so that all it reads is of one moment. Throws Error.
  template <class F>
  auto read(F&& use) {
    Borrowed borrowed{*this};
    return borrowed.run([&] { return use(borrowed.reader->scope); });
  }

 private:
  struct Reader {
    std::unique_ptr<sqlite::Connection> db;
    Scope scope;
  };

  struct Borrowed {
    explicit Borrowed(Readers& owner) : readers(owner), reader(owner.take()) {}
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { readers.give_back(std::move(reader)); }

    template <class F>
    auto run(F&& body) {
      try {
        begin();
        auto result = body();
        reader->db->execute("COMMIT");
        return result;
      } catch (const sqlite::Failure& failure) {
        readers.fail(failure);
      }
    }
    void begin();

    Readers& readers;
    std::unique_ptr<Reader> reader;
  };

  std::unique_ptr<Reader> take();
  /// A connection that is still in its transaction has failed, and is closed.
  void give_back(std::unique_ptr<Reader> reader) noexcept;
  [[noreturn]] void fail(const sqlite::Failure& failure) const;

  const std::string path_;
  const std::chrono::milliseconds busy_timeout_;
  NameCache& cache_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Reader>> idle_;  // Guarded by mutex_.
  std::size_t lent_ = 0;                       // Guarded by mutex_.
};

}  // namespace tidemill::sqlite_store
