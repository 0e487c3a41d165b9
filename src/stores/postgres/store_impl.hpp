#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stores/postgres/bell.hpp"
#include "stores/postgres/claim.hpp"
#include "stores/postgres/fronts.hpp"
#include "stores/postgres/janitor.hpp"
#include "stores/sql/server_store.hpp"

namespace tidemill::postgres_store {

/// The port on PostgreSQL: what it does in its own way.
class PostgresStore final : public sql_store::ServerStore<Postgres> {
 public:
  /// `where` names the place in messages.
  PostgresStore(postgres::Options server, std::string where, const Clock* clock);

  Wake wait(std::string_view worker, std::span<const std::string_view> queues, Duration timeout,
            std::stop_token stop) override;
  std::vector<Concern> concerns() override;
  std::vector<Gauge> gauges() override;

 private:
  void publish(News news, std::int64_t died) override;
  std::chrono::microseconds look() override { return bell_.look(); }
  bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) override;
  ClaimAnswer claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now) override;

  Janitor janitor_;
  Bell bell_;
  Fronts fronts_;
};

}  // namespace tidemill::postgres_store
