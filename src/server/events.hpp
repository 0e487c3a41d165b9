#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "server/checks.hpp"
#include "server/operations.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// The event stream: what has changed, at most once a second, to all who listen. One thread looks, and only
/// while somebody listens.
///
/// Thread safety: all members may be called from any thread.
class Events {
 public:
  /// Both must outlive it.
  Events(Service& service, const Operations& operations);
  /// As `close`.
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  void add_routes(Routes& routes);
  /// Tells the listeners to come again, and ends. May be called twice.
  void close();

 private:
  struct Listener;
  struct Event {
    std::uint64_t number = 0;
    std::string topic = {}, name = {}, data = {};
  };

  http::Response open(const Ask& ask);
  void loop();
  void look();
  void look_at_queues(const Snapshot& now);
  void look_at_lists(const Snapshot& now);
  void look_at_attention(const Snapshot& now);
  void look_at_operations();
  void look_at_tasks();
  void look_at_logs(const Snapshot& now);
  /// Who listens to a topic that begins so; of several, one.
  std::map<std::string, Caller> listening_to(std::string_view begin);
  /// Sends what is not as it was at the last look.
  void tell(const std::string& topic, const std::string& name, std::string data);
  void tell_if_changed(const std::string& topic, const std::string& name, std::string data);
  std::string text_of(const Event& event) const;
  void beat();

  Service& service_;
  const Operations& operations_;
  const std::string boot_;
  std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<std::shared_ptr<Listener>> listeners_;  // Guarded by mutex_.
  std::deque<Event> ring_;                            // The last ones. Guarded by mutex_.
  std::uint64_t next_ = 1;                            // Guarded by mutex_.
  bool closed_ = false;                               // Guarded by mutex_.
  std::map<std::string, std::string> last_;           // What was told of each thing; the thread's own.
  std::set<std::string> under_way_;                   // Operations; the thread's own.
  std::map<std::string, std::int64_t> lines_told_;    // To which line, by topic; the thread's own.
  std::thread thread_;                                // Last: it uses all the others.
};

}  // namespace tidemill::server
