module reference

go 1.23

require github.com/txix-open/etp/v4 v4.0.1
