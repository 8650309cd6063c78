#ifndef SPLINTER_PAGE_H
#define SPLINTER_PAGE_H
#define PAGE_SIZE 4096UL
#endif
