#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stores/mysql/bell.hpp"
#include "stores/mysql/claim.hpp"
#include "stores/sql/server_store.hpp"

namespace tidemill::mysql_store {

/// The port on MariaDB and MySQL: what it does in its own way.
class MysqlStore final : public sql_store::ServerStore<Mysql> {
 public:
  /// `where` names the place in messages.
  MysqlStore(mysql::Options server, std::string where, std::size_t task_bytes_max, const Clock* clock);

  std::vector<Concern> concerns() override;
  std::vector<Gauge> gauges() override;

 private:
  void publish(News news, std::int64_t died) override;
  std::chrono::microseconds look() override { return bell_.look(); }
  bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) override;
  ClaimAnswer claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now) override;

  Bell bell_;
};

}  // namespace tidemill::mysql_store
