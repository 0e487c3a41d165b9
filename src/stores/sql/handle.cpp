#include "stores/sql/handle.hpp"

#include <mutex>
#include <utility>

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

}  // namespace

std::unique_ptr<sql::Session> session_of(SqlHandle handle) { return std::make_unique<Locked>(handle); }

}  // namespace tidemill::sql_store
