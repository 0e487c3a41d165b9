#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/documents.hpp>
#include <tidemill/store.hpp>

#include "engine/store_clock.hpp"
#include "server/checks.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// An instant that the charts show: a deployment, a change of settings.
struct Mark {
  std::string id = {};
  TimePoint at = {};
  std::string label = {};
  std::string by = {};  ///< The token's name.
};

/// What operators leave in the store for all who look: marks on charts, and what is muted of the overview's
/// attention. A store without documents has none.
///
/// Thread safety: all members may be called from any thread.
class Notices {
 public:
  /// `service` must outlive it.
  explicit Notices(Service& service) : service_(service), clock_(service.store) {}

  void add_routes(Routes& routes);

  /// Those of [from, to), by time; the first thousand.
  std::vector<Mark> marks(TimePoint from, TimePoint to);
  /// Takes out what is muted now; returns how many that were.
  std::size_t take_muted(std::vector<Finding>& findings);

 private:
  Documents& documents() const;
  http::Response add_mark(const Ask& ask);
  http::Response erase_mark(const Ask& ask);
  http::Response mute(const Ask& ask);

  Service& service_;
  engine::StoreClock clock_;
};

void write_mark(json::Writer& writer, const Mark& mark);

}  // namespace tidemill::server
