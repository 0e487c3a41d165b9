#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

#include "server/problem.hpp"
#include "server/routes.hpp"
#include "wire/json_write.hpp"

namespace tidemill::server {

inline constexpr std::string_view prefix = "/api/v1";

/// What the routes work with; outlives them.
struct Service {
  Store& store;
  Client& client;
  Inspector& inspector;
  const Log& log;
};

/// Has work done in a thread that may wait for the store, and its answer sent.
using Later = std::function<void(std::function<http::Response()>, const http::Answer&)>;

class Waits;
class Control;
class Notices;
class StoredTokens;

// One file each.
void add_task_routes(Routes& routes, Service& service);
void add_act_routes(Routes& routes, Service& service, Waits& waits, const Later& later);
void add_edit_routes(Routes& routes, Service& service);
void add_queue_routes(Routes& routes, Service& service);
void add_schedule_routes(Routes& routes, Service& service);
void add_worker_routes(Routes& routes, Service& service);
void add_overview_route(Routes& routes, Service& service, Notices& notices);
void add_stat_routes(Routes& routes, Service& service, Notices& notices);
void add_port_routes(Routes& routes, Service& service);
void add_store_routes(Routes& routes, Service& service);
void add_control_routes(Routes& routes, Control& control);
/// `access` answers what is in force.
void add_token_routes(Routes& routes, Service& service, StoredTokens& tokens,
                      const std::function<std::shared_ptr<const Access>()>& access);

/// The parameters of the query that say which tasks, and some more.
std::vector<std::string> with_filter(std::initializer_list<std::string> more);
/// These names and some more.
std::vector<std::string> with(std::vector<std::string> names, std::initializer_list<std::string> more);
/// What these parameters say. Throws Problem{400, "bad_filter"}, or {403} for a queue that isn't the
/// caller's.
Filter filter_of(const Service& service, const Ask& ask);
/// Of the path: an id, and the queue that the query names, or the one that has such a task. Throws Problem
/// when there is none, or several, or the caller may not see it.
Ref find_task(const Service& service, const Ask& ask);
/// Throws Problem{400, "bad_cursor"}.
Page get_page(const Service& service, const TaskQuery& query);
/// Throws Problem{404}.
Task get_task(const Service& service, const Ref& ref);
/// A task with all that is known of it, and its etag as a header, too.
http::Response show_task(const Service& service, const Task& task, int status = 200);
/// Of all acts.
std::vector<std::string_view> action_names();
/// Why the task of an act or edit was not changed. `did` is what it was told: "hold", "edit".
Problem refusal_of(const Service& service, std::string_view did, const Ref& ref, Changed answer,
                   std::string_view queue = "");

/// {"items":[…], and what `rest(writer)` adds}.
template <class Items, class Fill, class Rest>
std::string list_of(const Items& items, Fill fill, Rest rest) {
  return wire::object([&](json::Writer& writer) {
    writer.key("items");
    wire::write_array(writer, items, fill);
    rest(writer);
  });
}
template <class Items, class Fill>
std::string list_of(const Items& items, Fill fill) {
  return list_of(items, fill, [](json::Writer&) {});
}

}  // namespace tidemill::server
