// Queues with handlers, over the engine's worker.
#include <algorithm>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/persistent_queue.hpp>
#include <tidemill/worker.hpp>

#include "engine/worker_signals.hpp"
#include "gateways/persistent_queue/check.hpp"
#include "gateways/persistent_queue/pool.hpp"
#include "gateways/persistent_queue/runner.hpp"
#include "gateways/persistent_queue/service_lease.hpp"
#include "gateways/persistent_queue/tables_store.hpp"

namespace tidemill::persistent_queue {

namespace {

using namespace std::chrono_literals;

constexpr std::int32_t capacity_usual = 100;
constexpr std::chrono::seconds expiry_usual{60};

std::string shown(const std::vector<Field>& fields) {
  std::string text;
  for (const Field& field : fields) text += fmt::format(" {}={}", field.name, field.value);
  return text;
}

/// What one queue has to say, to the five callbacks.
Log log_of(const Logger& logger, const std::string& service, const std::any& context) {
  return Log{
      [logger, service, context](Level level, std::string_view message, std::span<const Field> fields) {
        const Logger::Line& line = level == Level::debug     ? logger.debug
                                   : level == Level::info    ? logger.info
                                   : level == Level::warning ? logger.warn
                                                             : logger.error;
        if (!line) return;
        line(context, fmt::format("[{}] {}{}", service, message,
                                  shown(std::vector<Field>{fields.begin(), fields.end()})));
      },
      logger.debug ? Level::debug : Level::info};
}

/// With the defaults that the README gives where a number makes no sense.
QueueConfig completed(QueueConfig config) {
  const auto require = [&](bool condition, std::string_view what) {
    if (condition) return;
    throw Error{ErrorKind::invalid,
                fmt::format("queue \"{}\" of job type {}: {}", config.service_name, config.job_type, what)};
  };
  require(static_cast<bool>(config.handler), "handJobFunc is nil: give a handler");
  require(static_cast<bool>(config.db), "wrong db engine: db is empty");
  require(config.wait_time >= Duration::zero(), "wait_time must not be negative");
  require(config.continues_max >= 0, "continues_max must not be negative; 0 is no limit");
  if (config.worker_pool_capacity <= 0) config.worker_pool_capacity = capacity_usual;
  if (config.worker_expiry <= 0s) config.worker_expiry = expiry_usual;
  config.table.service_name = config.service_name;
  config.table.job_type = config.job_type;
  config.table.db = config.db;
  config.table.first_pull_days = config.first_pull_days;
  config.table.queue_size_max = config.queue_max_size;
  config.table.load_limit = config.load_limit;
  config.table.retries_max = config.need_retry ? config.max_retries : 0;
  try {
    check(config.table);
  } catch (const Error& error) {
    require(false, error.what());
  }
  try {
    config.db.ping();
  } catch (const Error& error) {
    require(false, fmt::format("wrong db engine: {}", error.what()));
  }
  return config;
}

}  // namespace

Logger Logger::to(const Log& log) {
  Logger logger;
  logger.info = [log](const std::any&, std::string_view text) { log.info(text); };
  logger.warn = [log](const std::any&, std::string_view text) { log.warning(text); };
  logger.error = [log](const std::any&, std::string_view text) { log.error(text); };
  if (log.enabled(Level::debug)) {
    logger.debug = [log](const std::any&, std::string_view text) { log.debug(text); };
  }
  return logger;
}

/// One that runs.
class Queue {
 public:
  Queue(QueueConfig config, std::shared_ptr<ServiceLease> lease, const Logger& logger)
      : config_(std::move(config)),
        log_(config_.table.log),
        store_(config_.table, std::move(lease)),
        runner_(config_, store_, pool_, logger, log_),
        pool_(config_.worker_expiry) {
    router_.handle(kind_name(config_.job_type), [this](Context& context) { return runner_.start(context); });
    worker_.emplace(store_, router_, worker_options());
  }
  void start() { worker_->start(); }
  void stop() {
    worker_->stop();
    store_.leave();
  }
  bool leads(std::string_view service_name) const {
    return config_.service_name == service_name && store_.leads();
  }

 private:
  WorkerOptions worker_options() const {
    const WorkerLease lease = worker_lease(config_.table);
    WorkerOptions options;
    options.queues = {{.name = queue_name(config_.table)}};
    options.concurrency = config_.worker_pool_capacity;
    options.threads = 1;  // It only hands over to the pool.
    options.deferrals_max =
        config_.continues_max == 0 ? std::numeric_limits<std::int32_t>::max() : config_.continues_max;
    options.lease = lease.lease;
    options.beat = lease.beat;
    options.margin = lease.margin;
    options.poll = config_.table.poll_interval;
    // A job is ours until its handler returns: nobody shall run it beside that.
    options.stuck_after = std::chrono::hours{24 * 365};
    options.shutdown_timeout = config_.shutdown_timeout;
    options.log = log_;
    return options;
  }

  const QueueConfig config_;
  const Log log_;
  TablesStore store_;
  Runner runner_;
  Pool pool_;  // After what its threads use: it waits for them.
  Router router_;
  std::optional<Worker> worker_;
};

struct Queues::Impl {
  std::mutex mutex;
  std::vector<std::unique_ptr<Queue>> queues;
  bool stopped = false;  // Guarded by mutex.
};

Queues::Queues(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Queues::~Queues() { stop(); }

void Queues::stop() {
  const std::lock_guard lock{impl_->mutex};
  if (std::exchange(impl_->stopped, true)) return;
  std::vector<std::thread> stopping;
  for (const auto& queue : impl_->queues) stopping.emplace_back([&queue] { queue->stop(); });
  for (std::thread& each : stopping) each.join();
}

void Queues::run() {
  {
    engine::ProcessSignals signals;
    signals.wait();
  }
  stop();
}

bool Queues::leads(std::string_view service_name) const {
  return std::ranges::any_of(impl_->queues, [&](const auto& queue) { return queue->leads(service_name); });
}

std::unique_ptr<Queues> init(std::vector<QueueConfig> configs, const Logger& logger) {
  if (configs.empty()) throw Error{ErrorKind::invalid, "there is no queue to start"};
  for (QueueConfig& config : configs) config = completed(std::move(config));
  std::vector<TableOptions> tables;
  for (QueueConfig& config : configs) {
    const std::any context = logger.new_context ? logger.new_context(config.service_name) : std::any{};
    config.table.log = log_of(logger, config.service_name, context);
    tables.push_back(config.table);
  }
  std::vector<std::shared_ptr<ServiceLease>> leases = share_leases(tables);
  auto impl = std::make_unique<Queues::Impl>();
  for (std::size_t i = 0; i < configs.size(); ++i)
    impl->queues.push_back(std::make_unique<Queue>(std::move(configs[i]), std::move(leases[i]), logger));
  for (const auto& queue : impl->queues) queue->start();
  return std::unique_ptr<Queues>{new Queues{std::move(impl)}};
}

}  // namespace tidemill::persistent_queue
