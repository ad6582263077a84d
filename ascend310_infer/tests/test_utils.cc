#include "utils.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <iostream>
#include <sstream>

#include "message.h"
#include "temporary_folder.h"

using namespace densenet;

TEST_CASE("an exception becomes one line and an exit status") {
  const auto run = [](const std::function<void()>& body) {
    std::ostringstream captured;
    auto* original = std::cerr.rdbuf(captured.rdbuf());
    const int status = RunReported(body);
    std::cerr.rdbuf(original);
    return std::to_string(status) + " " + captured.str();
  };
  CHECK(run([] {}) == "0 ");
  CHECK(run([] { throw Error("two\nlines"); }) == "1 error: two?lines\n");
  CHECK(run([] { throw UsageError("no such flag"); }) == "2 error: no such flag\n");
  CHECK(run([] { throw std::bad_alloc(); }) == "1 error: out of memory; use fewer --threads or a smaller batch\n");
}

TEST_CASE("what a terminal would obey is not printed") {
  CHECK(Printable("a b/\u5854.jpg") == "a b/\u5854.jpg");
  CHECK(Printable("a\r\n\x1b[31m\x7f.jpg") == "a???[31m?.jpg");
  CHECK(Printable("\u009b31m \u202e \u200b \ufeff \U000e0041") == "?31m ? ? ? ?");  // C1, right to left, unseen
  CHECK(Printable("\x9b"
                  "31m \xff \xe2\x82 \xc0\xaf") == R"(\x9b31m \xff \xe2\x82 \xc0\xaf)");
}

TEST_CASE("a file is read as it was written") {
  const TemporaryFolder folder;
  const std::string content("\0\xff\n", 3);
  WriteFile(folder / "file", content.data(), content.size());
  CHECK(ReadFile(folder / "file") == std::vector<uint8_t>{0, 0xff, '\n'});
  CHECK(ReadFile(folder.Write("empty", "")).empty());
}

TEST_CASE("what cannot be read or written is an error that names it") {
  const TemporaryFolder folder;
  CHECK(Contains(Message<Error>([&] { ReadFile(folder / "missing"); }), "missing cannot be read: No such file"));
  CHECK(Contains(Message<Error>([&] { ReadFile(folder.path()); }), "cannot be read: Is a directory"));
  const auto huge = folder.Write("huge", "");
  std::filesystem::resize_file(huge, uintmax_t{1} << 32);
  CHECK(Contains(Message<Error>([&] { ReadFile(huge); }),
                 "huge cannot be read: it has 4294967296 bytes, more than the limit"));
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(Contains(Message<Error>([&] { ReadFile(folder / "pipe"); }), "pipe cannot be read: it is no regular file"));
  CHECK(Contains(Message<Error>([] { ReadFile("/dev/zero"); }), "zero cannot be read: it is no regular file"));
  CHECK(Contains(Message<Error>([&] { WriteFile(folder / "no/folder", "x", 1); }), "cannot write"));
  CHECK(Contains(Message<Error>([] { WriteFile("/dev/full", "x", 1); }), "No space left on device"));
}

TEST_CASE("a folder that holds something is left alone") {
  const TemporaryFolder folder;
  MakeEmptyFolder(folder / "new/inner");
  CHECK(std::filesystem::is_directory(folder / "new/inner"));
  MakeEmptyFolder(folder / "new/inner");
  CHECK(Contains(Message<Error>([&] { MakeEmptyFolder(folder / "new"); }), "holds files already"));
  CHECK(Contains(Message<Error>([&] { MakeEmptyFolder(folder.Write("file", "x")); }), "cannot be made"));
}
