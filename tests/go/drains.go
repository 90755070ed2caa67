// A host that reads what its children write while it starts others, and whose collector stops its threads.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

func main() {
	go func() {
		for {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}()
	var wg sync.WaitGroup
	for i := 0; i < 6; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out, err := exec.Command(os.Getenv("JOB"), "-b", "5", "-k", "300").Output()
			if err != nil || len(out) != 300*1024 {
				fmt.Println("bad", err, len(out))
				os.Exit(1)
			}
		}()
	}
	wg.Wait()
	fmt.Println("ok")
}
