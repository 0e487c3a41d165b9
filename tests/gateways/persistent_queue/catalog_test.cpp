// What an operator sees of a queue in PersistentQueue's tables, and what he can do: through the Inspector, as
// command line and server do it.
#include <set>

#include <tidemill/inspector.hpp>
#include <tidemill/worker.hpp>

#include "fixture.hpp"
#include "refusal.hpp"

namespace tidemill::persistent_queue {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using tests::refusal;

class PersistentQueueCatalog : public Tables {
 protected:
  void SetUp() override {
    Tables::SetUp();
    if (IsSkipped()) return;
    options = table_options();
    store = open_tables(options);
    inspector.emplace(*store);
  }
  void TearDown() override {
    inspector.reset();
    store.reset();
  }
  Ref ref(std::uint64_t id) const { return {queue, std::to_string(id)}; }
  Task task(std::uint64_t id) {
    const std::optional<Task> found = inspector->task(ref(id));
    EXPECT_TRUE(found) << id;
    return found.value_or(Task{});
  }
  std::uint64_t insert_as(int status, const std::string& params = "ok", std::int64_t start_time = 0) {
    const std::uint64_t id = insert(params, start_time);
    db.execute(fmt::format("UPDATE async_job_tab SET job_status = {} WHERE id = {}", status, id));
    return id;
  }
  /// What a node keeps beside a job.
  void keep(std::uint64_t id, const std::string& assignments) {
    db.execute(fmt::format(
        "INSERT INTO tidemill_async_job SET job_id = {}, job_type = 7, updated_at = UNIX_TIMESTAMP(), {}", id,
        assignments));
  }
  /// All pages, of so many each.
  std::vector<std::string> listed(const Filter& filter, std::size_t limit = 50) {
    std::vector<std::string> ids;
    for (TaskQuery query{.filter = filter, .limit = limit};;) {
      Page page = inspector->tasks(query);
      EXPECT_LE(page.tasks.size(), limit);
      for (const Task& each : page.tasks) ids.push_back(each.ref.id);
      if (page.next.empty()) return ids;
      query.cursor = page.next;
    }
  }
  /// A worker that does as the params say.
  std::unique_ptr<Worker> work(Router& router) {
    const WorkerLease lease = worker_lease(options);
    WorkerOptions made;
    made.queues = {{.name = queue}};
    made.lease = lease.lease;
    made.beat = lease.beat;
    made.margin = lease.margin;
    made.poll = 100ms;
    made.log = lines.log();
    auto worker = std::make_unique<Worker>(*store, router, made);
    worker->start();
    return worker;
  }

  TableOptions options;
  const std::string queue = "svc/7";
  std::unique_ptr<Store> store;
  std::optional<Inspector> inspector;
};

TEST_F(PersistentQueueCatalog, EachRowHasTheStateThatItIsIn) {
  const std::uint64_t pending = insert("p");
  const std::uint64_t scheduled = insert("s", now() + 3600);
  const std::uint64_t completed = insert_as(1);
  const std::uint64_t archived = insert_as(2);
  keep(archived, "attempts = 3, retries = 2, last_error = 'broken'");
  const std::uint64_t marked = insert_as(3);
  const std::uint64_t retried = insert("r");
  keep(retried,
       "attempts = 1, retries = 1, last_error = 'once', next_due = (UNIX_TIMESTAMP() + 60) * 1000000");
  const std::uint64_t claimed = insert("c");
  keep(claimed, "owner = 'n', epoch = 5");
  const std::uint64_t of_a_dead_one = insert("d");
  keep(of_a_dead_one, "owner = 'm', epoch = 4");
  db.execute("INSERT INTO tidemill_shedlock VALUES (MD5('svc'), 5, 'n', 0)");
  const std::uint64_t odd = insert_as(4);
  const std::uint64_t null = insert("n");
  db.execute(
      fmt::format("UPDATE async_job_tab SET job_status = NULL, start_time = NULL WHERE id = {}", null));
  insert("another type", 0, 8);

  EXPECT_EQ(task(pending).state, State::pending);
  EXPECT_EQ(task(pending).payload, "p");
  EXPECT_EQ(task(pending).kind, "7");
  EXPECT_EQ(task(scheduled).state, State::scheduled);
  EXPECT_TRUE(task(scheduled).run_at);
  EXPECT_EQ(task(completed).state, State::completed);
  EXPECT_TRUE(task(completed).ended_at);
  EXPECT_EQ(task(archived).state, State::archived);
  EXPECT_EQ(task(archived).error, "broken");
  EXPECT_EQ(task(archived).attempt, 3);
  EXPECT_EQ(task(marked).state, State::active);
  EXPECT_EQ(task(retried).state, State::retry);
  EXPECT_EQ(task(retried).retries, 1);
  EXPECT_EQ(task(claimed).state, State::active);
  EXPECT_EQ(task(claimed).worker, "n");
  EXPECT_EQ(task(of_a_dead_one).state, State::pending);
  EXPECT_EQ(task(null).state, State::pending);
  EXPECT_FALSE(inspector->task(ref(odd)));
  EXPECT_FALSE(inspector->task(ref(9999)));
  EXPECT_FALSE(inspector->task({queue, "no number"}));
  EXPECT_FALSE(inspector->task({"other", std::to_string(pending)}));

  const std::vector<QueueInfo> queues = inspector->queues();
  ASSERT_THAT(queues, SizeIs(1));
  EXPECT_EQ(queues[0].name, queue);
  EXPECT_EQ(queues[0].count(State::pending), 3U);
  EXPECT_EQ(queues[0].count(State::scheduled), 1U);
  EXPECT_EQ(queues[0].count(State::active), 2U);
  EXPECT_EQ(queues[0].count(State::retry), 1U);
  EXPECT_EQ(queues[0].count(State::completed), 1U);
  EXPECT_EQ(queues[0].count(State::archived), 1U);
  EXPECT_THAT(listed({.states = State::active}),
              ElementsAre(std::to_string(claimed), std::to_string(marked)));
  EXPECT_THAT(listed({}), SizeIs(9));
  EXPECT_THAT(inspector->attempts(ref(archived)), IsEmpty());
}

TEST_F(PersistentQueueCatalog, PagesHoldEachRowOnceInOneOrder) {
  std::string rows;
  for (int i = 0; i < 1300; ++i) {
    rows += fmt::format("{}('{}', 7, {}, {}, UNIX_TIMESTAMP(), 0)", i == 0 ? "" : ",",
                        i % 100 == 0 ? "seek" : "x", i % 7 == 0 ? "NULL" : std::to_string(i % 3),
                        i % 5 == 0 ? "NULL" : std::to_string(i % 4));
  }
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES " +
      rows);
  const std::vector<std::string> all = listed({}, 1000);
  EXPECT_THAT(std::set(all.begin(), all.end()), SizeIs(1300));
  for (const std::size_t limit : {1U, 7U, 500U}) {
    EXPECT_EQ(listed({}, std::max<std::size_t>(limit, 20)), all);
    EXPECT_THAT(listed({.text = "seek"}, limit), SizeIs(13));
  }
  EXPECT_THAT(
      listed({.states = State::archived}),
      SizeIs(static_cast<std::size_t>(number("SELECT COUNT(*) FROM async_job_tab WHERE job_status = 2"))));
  EXPECT_THAT(listed({.queue = "other"}), IsEmpty());
  EXPECT_THAT(listed({.kind = "8"}), IsEmpty());
  EXPECT_THAT(refusal([&] { inspector->tasks({.cursor = "1:2:x"}); }), HasSubstr("is no cursor"));
}

TEST_F(PersistentQueueCatalog, AJobIsRunNowRetriedPutOffCancelledAndDeleted) {
  const std::uint64_t scheduled = insert("ok", now() + 3600);
  const std::uint64_t failed = insert_as(2);
  keep(failed, "attempts = 4, retries = 3, last_error = 'broken'");
  db.execute("UPDATE async_job_tab SET create_time = 1");  // Older than what is recovered.
  const std::uint64_t waiting = insert("ok");
  const std::uint64_t unwanted = insert("ok");
  const std::uint64_t refused = insert("ok");
  const TimePoint later = inspector->now() + 1h;
  EXPECT_EQ(inspector->act(Action::reschedule(later), ref(waiting)), Changed::changed);
  EXPECT_EQ(task(waiting).state, State::scheduled);
  EXPECT_GE(*task(waiting).run_at, later);
  EXPECT_EQ(inspector->act(Act::erase, ref(unwanted)), Changed::changed);
  EXPECT_EQ(inspector->act(Act::erase, ref(unwanted)), Changed::absent);
  EXPECT_EQ(inspector->act(Act::cancel, ref(refused)), Changed::changed);
  EXPECT_EQ(task(refused).state, State::archived);
  EXPECT_EQ(task(refused).error, "cancelled");
  EXPECT_EQ(inspector->act(Act::cancel, ref(refused)), Changed::wrong_state);

  Router router;
  router.handle("7", [](Context&) { return Outcome::success(); });
  const auto worker = work(router);
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  EXPECT_EQ(inspector->act(Act::run, ref(scheduled)), Changed::changed);
  EXPECT_EQ(inspector->act(Act::run, ref(failed)), Changed::changed);
  EXPECT_TRUE(ends_as(scheduled, 1)) << lines.all();
  EXPECT_TRUE(ends_as(failed, 1)) << lines.all();
  EXPECT_EQ(status(waiting), 0);
  EXPECT_EQ(inspector->act(Act::erase, Filter{.states = State::completed}).changed, 3U);
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab"), 2);
}

TEST_F(PersistentQueueCatalog, AJobThatRunsHereIsStoppedAndNoOther) {
  std::atomic<int> begun{0};
  Router router;
  router.handle("7", [&](Context& context) {
    ++begun;
    eventually([&] { return context.stop_token().stop_requested(); });
    return Outcome::failure("stopped");
  });
  const auto worker = work(router);
  const std::uint64_t id = insert("x");
  ASSERT_TRUE(eventually([&] { return begun == 1; })) << lines.all();
  EXPECT_EQ(task(id).state, State::active);
  EXPECT_EQ(inspector->act(Act::erase, ref(id)), Changed::wrong_state);
  EXPECT_EQ(inspector->act(Act::cancel, ref(id)), Changed::signalled);
  EXPECT_TRUE(ends_as(id, 2)) << lines.all();
  EXPECT_EQ(begun, 1);
  const std::uint64_t elsewhere = insert_as(3);
  EXPECT_EQ(inspector->act(Act::cancel, ref(elsewhere)), Changed::wrong_state);
}

TEST_F(PersistentQueueCatalog, OnlyThePayloadIsEdited) {
  const std::uint64_t id = insert("before");
  EXPECT_EQ(inspector->edit(ref(id), [](NewTask& edited) { edited.payload = "after"; }), Changed::changed);
  EXPECT_EQ(task(id).payload, "after");
  EXPECT_THAT(
      refusal([&] { inspector->edit(ref(id), [](NewTask& edited) { edited.options.priority = 3; }); }),
      HasSubstr("a column for the payload alone"));
  EXPECT_THAT(refusal([&] {
                inspector->edit(ref(id), [](NewTask& edited) { edited.payload = std::string(5000, 'x'); });
              }),
              HasSubstr("params have 5000 characters"));
  EXPECT_EQ(inspector->edit(
                ref(id), [](NewTask& edited) { edited.payload = "x"; }, "another etag"),
            Changed::stale);
  EXPECT_EQ(inspector->edit(ref(insert_as(1)), [](NewTask&) {}), Changed::wrong_state);
  EXPECT_EQ(inspector->edit(ref(9999), [](NewTask&) {}), Changed::absent);
}

TEST_F(PersistentQueueCatalog, WhatTheTablesCantSayIsRefusedWithWords) {
  const std::uint64_t id = insert("x");
  EXPECT_THAT(refusal([&] { inspector->pause(queue); }, ErrorKind::unsupported),
              HasSubstr("async_job_tab has no place"));
  refusal([&] { inspector->act(Act::hold, ref(id)); }, ErrorKind::unsupported);
  EXPECT_THAT(refusal([&] { inspector->act(Action::move("other"), ref(id)); }, ErrorKind::unsupported),
              HasSubstr("its job_type says which queue"));
  EXPECT_THAT(refusal([&] { inspector->erase_queue(queue); }, ErrorKind::unsupported),
              HasSubstr("as long as it is configured"));
  EXPECT_THAT(inspector->workers(), IsEmpty());
  EXPECT_THAT(inspector->stats(tidemill::Span::day, {}, inspector->now()), IsEmpty());
  EXPECT_THAT(inspector->groups(queue), IsEmpty());
}

TEST_F(PersistentQueueCatalog, WhoOnlyLooksLeavesTheLeaseToOthers) {
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  EXPECT_TRUE(queues->leads("svc"));
  EXPECT_FALSE(lines.has("another holds the lease"));
}

}  // namespace
}  // namespace tidemill::persistent_queue
