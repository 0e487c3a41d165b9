#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/sql/text.hpp"
#include "stores/sql/naming.hpp"

namespace tidemill::sql_store {

using sql::Sql;

/// Statements on one connection, in as few round trips as their answers allow: what is only told travels with
/// the next question.
template <class Database>
class Scope {
 public:
  using Connection = typename Database::Connection;
  using Naming = sql_store::Naming<Database>;
  using Batch = typename Database::Batch;
  using Query = typename Database::Query;

  enum class Mode : std::uint8_t {
    each,         ///< Each question is a transaction of its own.
    transaction,  ///< All are one, which begins with the first.
    callers,      ///< All belong to the transaction that the caller has begun.
  };
  /// `opening` comes first in each transaction that it begins. Both others must outlive it.
  Scope(Connection& connection, Naming& naming, Mode mode, Batch opening);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  template <class... Args>
  void tell(const Sql& sql, const Args&... args) {
    told_.add(sql, args...);
  }
  /// Throws Failure, as all that sends does.
  template <class... Args>
  Query ask(const Sql& sql, const Args&... args) {
    Batch batch;
    batch.add(sql, args...);
    return std::move(ask_all(std::move(batch)).front());
  }
  /// The answers are those of the batch, in order.
  std::vector<Query> ask_all(Batch batch);
  template <class... Args>
  bool any(const Sql& sql, const Args&... args) {
    return ask(sql, args...).step();
  }
  /// How many rows it has inserted, updated or deleted.
  template <class... Args>
  std::int64_t run(const Sql& sql, const Args&... args) {
    return ask(sql, args...).changes();
  }
  /// Ends the transaction; in the caller's, sends what was told. Nothing is sent if nothing was said.
  void commit();

  /// None when the queue was never seen.
  std::optional<std::int64_t> find_queue(std::string_view name) {
    return naming_.find(db_, NameTable::queue, name, mode_ != Mode::callers);
  }
  std::string queue_name(std::int64_t number) { return name_of(NameTable::queue, number); }
  std::string kind_name(std::int64_t number) { return name_of(NameTable::kind, number); }

 protected:
  std::int64_t intern(NameTable table, std::string_view name) {
    return naming_.intern(db_, table, name, mode_ != Mode::callers);
  }

 private:
  std::string name_of(NameTable table, std::int64_t number) {
    return mode_ == Mode::callers ? naming_.name_inside(db_, table, number)
                                  : naming_.name(db_, table, number);
  }

  Connection& db_;
  Naming& naming_;
  const Mode mode_;
  const Batch opening_;
  Batch told_;
  bool begun_ = false;
};

}  // namespace tidemill::sql_store
