// Pictures preprocessed by several threads while the caller infers.
#ifndef DENSENET_IMAGE_LOADER_H_
#define DENSENET_IMAGE_LOADER_H_

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace densenet {

// Calls load(0), ..., load(count - 1) on `threads` threads and hands the results over in order. At most `ahead`
// pictures are waiting or being made at any time. The constructor, Next and the destructor belong to one thread.
class ImageLoader {
 public:
  using Load = std::function<std::vector<float>(size_t)>;

  // Error when the threads cannot be started.
  ImageLoader(size_t count, Load load, int threads, size_t ahead);
  // Leaves out what has not begun.
  ~ImageLoader();
  ImageLoader(const ImageLoader&) = delete;
  ImageLoader& operator=(const ImageLoader&) = delete;

  // The next picture; throws what its load threw. At most `count` calls.
  std::vector<float> Next();

  // Spent in `load`, summed over the threads.
  double busy_seconds() const { return static_cast<double>(busy_nanoseconds_) / 1e9; }

 private:
  void Submit();
  void Work();
  // Ends the threads; each finishes what it has begun.
  void Stop();

  const size_t count_;
  const Load load_;
  size_t submitted_ = 0;
  std::deque<std::future<std::vector<float>>> results_;
  std::atomic<int64_t> busy_nanoseconds_{0};

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<std::packaged_task<std::vector<float>()>> tasks_;
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace densenet

#endif  // DENSENET_IMAGE_LOADER_H_
