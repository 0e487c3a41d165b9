// What stands behind SqlHandle.
#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>

namespace tidemill {

namespace {

/// An Error as it is; all else as unavailable.
template <class F>
auto guarded(F&& call) {
  try {
    return call();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error{ErrorKind::unavailable, error.what()};
  }
}

}  // namespace

SqlHandle::Base& SqlHandle::its() const {
  if (holder_ == nullptr) throw Error{ErrorKind::closed, "there is no connection: the SqlHandle is empty"};
  return *holder_;
}

std::int64_t SqlHandle::execute(const std::string& text, std::span<const SqlValue> values) const {
  Base& base = its();
  const std::lock_guard guard{base.mutex};
  return guarded([&] { return base.execute(text, values); });
}

std::vector<SqlRow> SqlHandle::query(const std::string& text, std::span<const SqlValue> values) const {
  Base& base = its();
  const std::lock_guard guard{base.mutex};
  return guarded([&] { return base.query(text, values); });
}

void SqlHandle::ping() const {
  Base& base = its();
  const std::lock_guard guard{base.mutex};
  guarded([&] { base.ping(); });
}

void SqlHandle::close() const {
  Base& base = its();
  const std::lock_guard guard{base.mutex};
  guarded([&] { base.close(); });
}

std::unique_lock<std::recursive_mutex> SqlHandle::lock() const { return std::unique_lock{its().mutex}; }

}  // namespace tidemill
