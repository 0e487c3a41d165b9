// `tidemill tasks`, `queues` and `workers`: what is listed, and what the acts do.
#include <gmock/gmock.h>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TasksTest : public CliTest {};

TEST_F(TasksTest, ListsWhatMatches) {
  const std::string cat = enqueue("image:thumb", "cat.png", "--queue", "images");
  enqueue("image:scale", "dog.png", "--queue", "images");
  enqueue("mail:send", "--delay", "1h");
  EXPECT_EQ(good("tasks", "--json").lines().size(), 3U);
  EXPECT_EQ(good("tasks", "--json", "--queue", "images").lines().size(), 2U);
  EXPECT_EQ(good("tasks", "--json", "--kind", "image:*").lines().size(), 2U);
  EXPECT_EQ(good("tasks", "--json", "--kind", "image:thumb").lines().size(), 1U);
  EXPECT_EQ(good("tasks", "--json", "--state", "scheduled").lines().size(), 1U);
  EXPECT_EQ(good("tasks", "--json", "--state", "scheduled", "--state", "pending").lines().size(), 3U);
  const Ran found = good("tasks", "--json", "--text", "cat.png");
  ASSERT_EQ(found.lines().size(), 1U);
  EXPECT_EQ(text(found.objects().at(0), "id"), cat);
  EXPECT_THAT(good("tasks", "--queue", "none").err, HasSubstr("no task matches"));
  bad(2, R"(did you mean "pending"?)", "tasks", "--state", "pendng");
}

TEST_F(TasksTest, TheLanguageOfTheApiSaysWhichTasks) {
  const std::string cat = enqueue("image:thumb", "cat.png", "--queue", "images");
  enqueue("image:scale", "dog.png", "--queue", "images", "--delay", "1h");
  enqueue("mail:send", "cat", "--id", "m1");
  EXPECT_EQ(good("tasks", "queue:images created:-1h..", "--json").lines().size(), 2U);
  EXPECT_EQ(good("tasks", "queue:images cat", "--json").lines().size(), 1U);
  EXPECT_EQ(good("tasks", "id:m", "--json").lines().size(), 1U);
  EXPECT_EQ(good("tasks", "created:..-1h", "--json").lines().size(), 0U);
  EXPECT_EQ(good("tasks", "kind:image:*", "--state", "scheduled", "--json").lines().size(), 1U);
  bad(1, "column 14: no store can look for \"worker\" yet", "tasks", "queue:images worker:w");
  bad(1, "column 1: ", "tasks", "stat:held");
  good("tasks", "hold", "--filter", "queue:images kind:image:t*", "--all", "--yes");
  EXPECT_EQ(good("tasks", "state:held", "--json").objects().at(0).at("id").as_string(), cat);
  EXPECT_EQ(good("tasks", "state:held", "--json").lines().size(), 1U);
}

TEST_F(TasksTest, TablesAreAlignedAndBreakForNoPayload) {
  enqueue("greet", "two\nlines \x1b[31m", "--id", "a");
  enqueue("greet:längst", "x", "--id", "bb", "--queue", "größe");
  const auto lines = good("tasks").lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[1], HasSubstr("two lines  [31m"));
  // Characters count, not bytes: each umlaut is one byte more than it is wide.
  EXPECT_EQ(lines[0].find("STATE"), lines[1].find("pending"));
  EXPECT_EQ(lines[0].find("STATE") + 2, lines[2].find("pending"));
}

TEST_F(TasksTest, PagesByCursor) {
  for (int i = 0; i < 5; ++i) enqueue("greet");
  const auto first = good("tasks", "--json", "--limit", "3").objects();
  ASSERT_EQ(first.size(), 4U);
  const std::string cursor = text(first.back(), "cursor");
  const auto second = good("tasks", "--json", "--limit", "3", "--cursor", cursor).objects();
  ASSERT_EQ(second.size(), 2U);
  EXPECT_GT(text(second[0], "id"), text(first[2], "id"));
  EXPECT_EQ(good("tasks", "--json", "--all").lines().size(), 5U);
  EXPECT_THAT(good("tasks", "--limit", "3").err, HasSubstr("--cursor '" + cursor + "'"));
  bad(1, "cursor", "tasks", "--cursor", "nonsense");
  bad(2, "--limit", "tasks", "--limit", "0");
}

TEST_F(TasksTest, ShowsAllOfOne) {
  const std::string id = enqueue("greet", "ada", "--queue", "mail", "--header", "trace=7f");
  for (const Ran& ran : {good("tasks", "show", "mail/" + id), good("tasks", "show", id, "--queue", "mail")}) {
    EXPECT_THAT(ran.out, HasSubstr("task        mail/" + id));
    EXPECT_THAT(ran.out, HasSubstr("header      trace: 7f"));
    EXPECT_THAT(ran.out, HasSubstr("payload     ada"));
  }
  bad(1, "queue \"default\" has no task", "tasks", "show", id);
  bad(2, "TASK is required", "tasks", "show");
}

TEST_F(TasksTest, ActsOnTasksByName) {
  const std::string id = enqueue("greet");
  EXPECT_THAT(good("tasks", "hold", id).out, HasSubstr("changed"));
  EXPECT_EQ(state_of(id), "held");
  good("tasks", "resume", id);
  EXPECT_EQ(state_of(id), "pending");
  good("tasks", "cancel", "default/" + id);
  EXPECT_EQ(state_of(id), "archived");
  good("tasks", "run", id);
  EXPECT_EQ(state_of(id), "pending");
  good("tasks", "archive", id);
  EXPECT_EQ(state_of(id), "archived");
  bad(1, "is archived; can't hold it", "tasks", "hold", id);
  const auto answers = run("tasks", "erase", id, "nobody", "--json");
  EXPECT_EQ(answers.code, 1);
  EXPECT_EQ(answers.objects().at(0).at("answer"), "changed");
  EXPECT_EQ(answers.objects().at(1).at("answer"), "absent");
  EXPECT_EQ(state_of(id), "");
  bad(1, "there is no task default/" + id, "tasks", "erase", id);
}

TEST_F(TasksTest, ActsOnAllOnlyWhenThatIsMeant) {
  for (int i = 0; i < 3; ++i) enqueue("mail:send");
  enqueue("greet");
  bad(2, "give ids, or --all", "tasks", "archive");
  bad(2, "add --yes", "tasks", "archive", "--all", "--kind", "mail:*");
  bad(2, "give one of them", "tasks", "archive", "x", "--all", "--yes");
  bad(2, "give one of them", "tasks", "archive", "x", "--kind", "y");
  EXPECT_THAT(good("tasks", "archive", "--all", "--kind", "mail:*", "--yes").out, HasSubstr("3 changed"));
  EXPECT_EQ(
      good("tasks", "erase", "--state", "archived", "--all", "--yes", "--json").objects().at(0).at("changed"),
      3);
  EXPECT_EQ(good("tasks", "--json").lines().size(), 1U);
}

TEST_F(TasksTest, PutsTasksOff) {
  const std::string id = enqueue("greet");
  EXPECT_THAT(good("tasks", "reschedule", id, "--at", "2100-01-01T00:00:00Z").out, HasSubstr("changed"));
  EXPECT_EQ(text(show(id), "state"), "scheduled");
  EXPECT_EQ(text(show(id), "run_at"), "2100-01-01T00:00:00Z");
  good("tasks", "reschedule", id, "--delay", "1h");
  EXPECT_LT(text(show(id), "run_at"), "2100");
  enqueue("greet", "--held");
  EXPECT_EQ(
      good("tasks", "reschedule", "--delay", "2h", "--all", "--yes", "--json").objects().at(0).at("changed"),
      2);
  good("tasks", "archive", id);
  bad(1, "is archived; can't reschedule it", "tasks", "reschedule", id, "--delay", "1h");
  bad(2, "give --delay or --at", "tasks", "reschedule", id);
  bad(2, "--at", "tasks", "reschedule", id, "--delay", "1h", "--at", "2100-01-01T00:00:00Z");
  bad(2, "--delay", "tasks", "reschedule", id, "--delay", "soon");
}

TEST_F(TasksTest, MovesTasks) {
  const std::string id = enqueue("greet", "ada");
  EXPECT_THAT(good("tasks", "move", id, "--to", "bulk").out, HasSubstr("default/" + id + " changed"));
  EXPECT_EQ(text(show("bulk/" + id), "state"), "pending");
  EXPECT_EQ(state_of(id), "");
  enqueue("greet", "--id", id);
  bad(1, "queue \"bulk\" has a task " + id + " already; can't move it", "tasks", "move", id, "--to", "bulk");
  enqueue("greet", "--id", "a", "--unique=k");
  enqueue("greet", "--id", "b", "--unique=k", "--queue", "bulk");
  bad(1, "another task of queue \"bulk\" has the unique key of default/a", "tasks", "move", "a", "--to",
      "bulk");
  bad(1, "name another queue", "tasks", "move", "a", "--to", "default");
  bad(1, "begins or ends with a blank", "tasks", "move", "a", "--to", " x");
  bad(2, "--to is required", "tasks", "move", "a");
  EXPECT_EQ(good("tasks", "move", "--queue", "bulk", "--to", "third", "--all", "--yes", "--json")
                .objects()
                .at(0)
                .at("changed"),
            2);
  EXPECT_EQ(good("tasks", "--queue", "third", "--json").lines().size(), 2U);
}

TEST_F(TasksTest, EditsATask) {
  const std::string id = enqueue("greet", "ada", "--header", "a=1", "--header", "b=2", "--retries", "3",
                                 "--deadline", "2100-01-01T00:00:00Z");
  const std::string tag = text(show(id), "etag");
  EXPECT_THAT(good("tasks", "edit", id, "--payload", "bob", "--header", "c=3", "--drop-header", "a",
                   "--priority", "9", "--timeout", "90s", "--deadline", "none", "--kind", "greet:all",
                   "--expires", "2101-01-01T00:00:00Z", "--etag", tag)
                  .out,
              HasSubstr("default/" + id + " changed"));
  const auto task = show(id);
  EXPECT_EQ(text(task, "kind"), "greet:all");
  EXPECT_EQ(text(task, "payload_text"), "bob");
  EXPECT_FALSE(task.at("headers").as_object().contains("a"));
  EXPECT_EQ(text(task.at("headers").as_object(), "b"), "2");
  EXPECT_EQ(text(task.at("headers").as_object(), "c"), "3");
  EXPECT_EQ(task.at("priority"), 9);
  EXPECT_EQ(task.at("retries_max"), 3);
  EXPECT_EQ(task.at("timeout").to_number<double>(), 90);
  EXPECT_FALSE(task.contains("deadline"));
  EXPECT_EQ(text(task, "expires_at"), "2101-01-01T00:00:00Z");
  bad(1, "is no longer as its etag says; can't edit it", "tasks", "edit", id, "--retries", "1", "--etag",
      tag);
  EXPECT_EQ(run_with("\x01 bytes", {"tasks", "edit", id, "--payload", "-"}).code, 0);
  EXPECT_THAT(good("tasks", "show", id).out, HasSubstr("bytes"));
  bad(1, "priority is 1000", "tasks", "edit", id, "--priority", "1000");
  bad(2, "nothing is to be changed", "tasks", "edit", id);
  bad(2, "--timeout", "tasks", "edit", id, "--timeout", "soon");
  bad(2, "--header", "tasks", "edit", id, "--header", "nameless");
  bad(1, "there is no task default/none", "tasks", "edit", "none", "--priority", "1");
}

TEST_F(TasksTest, QueuesAreCountedAndPaused) {
  enqueue("greet", "--queue", "mail");
  enqueue("greet", "--queue", "mail", "--held");
  auto queue = good("queues", "--json").objects().at(0);
  EXPECT_EQ(text(queue, "queue"), "mail");
  EXPECT_EQ(queue.at("pending"), 1);
  EXPECT_EQ(queue.at("held"), 1);
  EXPECT_EQ(queue.at("paused"), false);
  good("queues", "pause", "mail");
  EXPECT_EQ(good("queues", "--json").objects().at(0).at("paused"), true);
  EXPECT_THAT(good("queues").out, HasSubstr("paused"));
  good("queues", "resume", "mail");
  EXPECT_THAT(good("queues").out, Not(HasSubstr("paused")));
  EXPECT_THAT(good("queues", "stats").err, HasSubstr("nothing has ended"));
  bad(2, "there is no span \"hour\"", "queues", "stats", "--by", "hour");
  bad(2, "there is no command \"puase\"; did you mean \"pause\"?", "queues", "puase", "mail");
}

TEST_F(TasksTest, QueuesAreDeleted) {
  enqueue("greet", "--queue", "mail");
  enqueue("greet", "--queue", "other");
  bad(1, "queue \"mail\" has tasks; --force deletes them with it", "queues", "delete", "mail");
  bad(1, "there is no queue \"absent\"", "queues", "delete", "absent");
  bad(1, "there is no queue \"absent\"", "queues", "delete", "absent", "--force");
  EXPECT_EQ(good("queues", "delete", "mail", "--force").out, "mail is deleted\n");
  EXPECT_EQ(good("queues", "--json").lines().size(), 1U);
  EXPECT_EQ(good("tasks", "--json").lines().size(), 1U);
}

TEST_F(TasksTest, NobodyWorksHere) {
  enqueue("greet");
  EXPECT_THAT(good("workers").err, HasSubstr("no worker"));
  bad(1, "there is no worker \"x\"", "workers", "stop", "x");
}

}  // namespace
}  // namespace tidemill::testing
