/* bcc stamps programs with a kernel version, which only kprobes of very old kernels had to match. */
#ifndef SPLINTER_VERSION_H
#define SPLINTER_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
#endif
