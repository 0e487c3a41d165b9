#include "stores/sql/handle.hpp"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace tidemill::sql_store {

namespace {

using sql::Session;

template <class F>
auto guarded(F&& call) {
  try {
    return call();
  } catch (const SqlError& error) {
    const SqlError::Details& known = error.details();
    throw Session::Refusal{error.what(), known.state, known.number, known.lost};
  } catch (const Error& error) {
    throw Session::Refusal{error.what(), {}, 0, error.kind() == ErrorKind::closed};
  }
}

class HandleSession : public sql::Session {
 public:
  explicit HandleSession(SqlHandle handle) : handle_(std::move(handle)) {}

  std::int64_t execute(const std::string& text) override {
    return guarded([&] { return handle_.execute(text); });
  }
  std::vector<Row> query(const std::string& text) override {
    return guarded([&] { return handle_.query(text); });
  }
  bool alive() noexcept override {
    try {
      handle_.ping();
      return true;
    } catch (const SqlError& error) {
      return !error.details().lost && !error.details().state.empty();
    } catch (const std::exception&) {
      return false;
    }
  }

 private:
  const SqlHandle handle_;
};

/// In a transaction of the caller's.
class Locked : public HandleSession {
 public:
  explicit Locked(const SqlHandle& handle) : HandleSession(handle), lock_(handle.lock()) {}

 private:
  const std::unique_lock<std::recursive_mutex> lock_;
};

/// Those that are in the hands of a store.
class Lent {
 public:
  /// False: it is there already.
  bool add(const SqlHandle& handle) {
    const std::lock_guard guard{mutex_};
    if (std::ranges::find(handles_, handle) != handles_.end()) return false;
    handles_.push_back(handle);
    return true;
  }
  void remove(const SqlHandle& handle) {
    const std::lock_guard guard{mutex_};
    std::erase(handles_, handle);
  }

 private:
  std::mutex mutex_;
  std::vector<SqlHandle> handles_;  // Guarded by mutex_.
};

/// For a store, until it needs it no more.
class Given : public HandleSession {
 public:
  Given(SqlHandle handle, std::shared_ptr<Lent> lent)
      : HandleSession(handle), handle_(std::move(handle)), lent_(std::move(lent)) {}
  ~Given() override { lent_->remove(handle_); }

 private:
  const SqlHandle handle_;
  const std::shared_ptr<Lent> lent_;
};

}  // namespace

std::unique_ptr<sql::Session> session_of(const SqlHandle& handle) { return std::make_unique<Locked>(handle); }

sql::Sessions sessions_of(std::function<SqlHandle()> connect) {
  return [connect = std::move(connect), lent = std::make_shared<Lent>()]() -> std::unique_ptr<sql::Session> {
    SqlHandle handle;
    try {
      handle = connect();
    } catch (const SqlError& error) {
      const SqlError::Details& known = error.details();
      throw Session::Refusal{error.what(), known.state, known.number, true};
    } catch (const std::exception& error) {
      throw Session::Refusal{error.what(), {}, 0, true};
    }
    if (!handle) throw Session::Refusal{"the application gave an empty SqlHandle", {}, 0, true};
    if (!lent->add(handle)) {
      throw Error{ErrorKind::invalid,
                  "the application gave a connection that the store has already; each must be another"};
    }
    return std::make_unique<Given>(std::move(handle), lent);
  };
}

}  // namespace tidemill::sql_store
